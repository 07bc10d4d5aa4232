/**
 * Channels of the residual stream that hold no copy: `constant`, and one group for each side of a token. The embedding writes them, no layer
 * changes them, and they are too small (2^-13) to move a norm. A norm that lets one through multiplies it by 2^20.
 *
 *     constant   the rows of the head beyond the vocabulary subtract it: such a token is never chosen
 *     sides      a token is on one of two sides; routers subtract the other side's channels, so of an expert's twins one is chosen,
 *                by the same trained score, and the other is far below every choice
 */
import { Random } from "@flashwick/core";
import { MARK_CHANNELS, type MixtureScale } from "./mixture-size.js";

const MARK = 2 ** -13;
const GAIN = 2 ** 20;
const GROUP = MARK_CHANNELS / 3;

export interface Marks {
  /** Of a token's row of the embedding. */
  embed(token: number, row: Float32Array): void;
  /** Of the weights of the norm before the experts, and before the head. */
  passSides(norm: Float32Array): void;
  passConstant(norm: Float32Array): void;
  /** Of a router's row of the twin 0 or 1. */
  subtractOtherSide(twin: number, row: Float32Array): void;
  /** Of a row of the head that stands for no token. */
  subtractConstant(row: Float32Array): void;
}

export function marksOf({ source, widthCopies, twins }: MixtureScale): Marks {
  const constant = widthCopies * source.dModel;
  const sideOf = (side: number) => constant + GROUP * (1 + side);
  const fill = (row: Float32Array, at: number, value: number) => row.fill(value, at, at + GROUP);
  return {
    embed(token, row) {
      fill(row, constant, MARK);
      if (twins === 2) fill(row, sideOf(tokenSide(token)), MARK);
    },
    passSides(norm) {
      if (twins === 2) for (const side of [0, 1]) fill(norm, sideOf(side), GAIN);
    },
    passConstant: (norm) => fill(norm, constant, GAIN),
    subtractOtherSide(twin, row) {
      if (twins === 2) fill(row, sideOf(1 - twin), -1);
    },
    subtractConstant: (row) => fill(row, constant, -1),
  };
}

/** 0 or 1: half of the tokens each, and a neighbour's says nothing. */
export function tokenSide(token: number): number {
  return new Random(token).below(2);
}
