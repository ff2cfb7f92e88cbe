/** Whatever this implementation refuses, it refuses with an error of this kind; any other error is a mistake of its own. */
export class ProtocolError extends Error {}

/** More peers left than b allows, or an honest majority is missing: the run stops. */
export class ToleranceExceeded extends ProtocolError {}
