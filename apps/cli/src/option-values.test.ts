import { InvalidArgumentError } from "commander";
import { describe, expect, it } from "vitest";
import { integer, integers, layerRange, number, orAuto, plainBytes, threshold, tokenIds } from "./option-values.js";

describe("option values", () => {
  it("reads what is well formed", () => {
    expect(integer(0)("12")).toBe(12);
    expect(integer(-5)("-3")).toBe(-3);
    expect(integers(1, 8)("8, 1,4")).toEqual([8, 1, 4]);
    expect(number(0, 1)("0.25")).toBe(0.25);
    expect(orAuto(integer(1))("auto")).toBe("auto");
    expect(orAuto(integer(1))("7")).toBe(7);
    expect(tokenIds("2, 17,4")).toEqual([2, 17, 4]);
    expect(plainBytes("4KiB")).toBe(4096);
    expect(layerRange("3")).toEqual({ first: 3, last: 3 });
    expect(layerRange("0-5")).toEqual({ first: 0, last: 5 });
  });
  it.each(["-inf", "-Infinity", "-infinity", "-INF"])("reads the threshold %s", (text) => {
    expect(threshold(text)).toBe(Number.NEGATIVE_INFINITY);
  });
  it("reads the threshold -1.5", () => {
    expect(threshold("-1.5")).toBe(-1.5);
  });
  it.each<[string, () => unknown]>([
    ["a fraction as an integer", () => integer(0)("1.5")],
    ["an integer below the least", () => integer(1)("0")],
    ["hexadecimal", () => integer(0)("0x10")],
    ["an integer above the most in a list", () => integers(1, 8)("4,9")],
    ["a hole in a list of integers", () => integers(0, 8)("4,,8")],
    ["nothing as a number", () => number(0)("")],
    ["a number above the most", () => number(0, 1)("1.01")],
    ["NaN as a threshold", () => threshold("nan")],
    ["an empty token list", () => tokenIds("")],
    ["a hole in a token list", () => tokenIds("1,,2")],
    ["a share where bytes are wanted", () => plainBytes("50%")],
    ["layers that run backwards", () => layerRange("5-3")],
  ])("refuses %s", (_, parse) => {
    expect(parse).toThrow(InvalidArgumentError);
  });
});
