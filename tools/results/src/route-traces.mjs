/** Traces of a mixture's routes: those of `flashwick trace record`, and files `route_trace v1` of BigMoeOnEdge. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { decodeTrace } from "@flashwick/dram-cache/simulate";

/** Traces by name, from arguments `[<name>:]<path>`. */
export function namedTraces(args) {
  return args.map((argument) => {
    const [path, name] = argument.split(":").reverse();
    return { name: name ?? basename(path), trace: readTrace(path) };
  });
}

function readTrace(path) {
  const bytes = readFileSync(path);
  return bytes.subarray(0, 13).toString() === "# route_trace" ? routesOf(bytes.toString()) : decodeTrace(bytes, path);
}

/** Lines `turn,phase,step,layer,slot,expert,…`; steps count on through a turn. */
function routesOf(text) {
  const [, layers, experts] = /n_layer=(\d+) n_expert=(\d+)/.exec(text).map(Number);
  const tokens = new Map();
  for (const line of text.split("\n")) {
    if (!/^\d/.test(line)) continue;
    const [turn, , step, layer, , expert] = line.split(",").map(Number);
    const key = `${turn} ${step}`;
    if (!tokens.has(key))
      tokens.set(
        key,
        Array.from({ length: layers }, () => []),
      );
    tokens.get(key)[layer].push(expert);
  }
  const sets = [...tokens.values()].map((of) => of.map((ids) => Uint32Array.from(ids).sort()));
  return { nLayers: layers, dFf: experts, tokens: sets };
}
