import { Departures, remainingTolerance } from '../bans.js';

function depart({ roster, tolerated, decisions }) {
  const departures = new Departures(null);
  for (const [what, one, other] of decisions) {
    if (what === 'remove') departures.remove(one, other);
    else departures.eliminate(one, other);
  }
  return {
    removals: departures.removals.map(({ peer, how, fault, partner }) => [peer, how, fault, partner ?? null]),
    roster: roster.filter((peer) => !departures.out(peer)),
    tolerated: remainingTolerance(tolerated, departures.removals),
  };
}

export default { 'bans.depart': depart };
