/** Whatever this implementation refuses, it refuses with an error of this kind; any other error is a mistake of its own. */
export class ProtocolError extends Error {}
