/** A cancel at a moment that a seed chooses. */
import type { Random } from "@flashwick/core";
import type { Actor, SimulatedWorld } from "./simulated-world.js";

/** The reason that cancelled requests must throw. */
export class Cancelled extends Error {
  constructor() {
    super("cancelled by the schedule");
  }
}

/** An abort after some steps of the world. */
export class Alarm implements Actor {
  readonly reason = new Cancelled();
  readonly #world: SimulatedWorld;
  readonly #controller = new AbortController();
  #steps: number;

  constructor(world: SimulatedWorld, random: Random) {
    this.#world = world;
    // As often within the first moments as within all later ones.
    this.#steps = random.below(2 ** (1 + random.below(10)));
    world.add(this);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  step(): boolean {
    if (this.#steps-- > 0) return true;
    this.stop();
    this.#controller.abort(this.reason);
    return true;
  }

  /** It does not go off any more. */
  stop(): void {
    this.#world.remove(this);
  }
}
