import { expect, it } from "vitest";
import { isLoopback, isLoopbackHeader } from "./allowed-host.js";

it.each(["localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8080"])(
  "the host %s is this machine",
  (header) => expect(isLoopbackHeader(header)).toBe(true),
);

it.each([
  "",
  "example.org",
  "localhost.example.org:80",
  "127.0.0.1.example.org",
  "10.0.0.1",
  "[::2]:80",
  "::1",
  "0.0.0.0",
])("the host %j is not", (header) => expect(isLoopbackHeader(header)).toBe(false));

it("addresses to listen on", () => {
  expect(["127.0.0.1", "::1", "localhost"].map(isLoopback)).toEqual([true, true, true]);
  expect(["0.0.0.0", "::", "192.168.0.1", ""].map(isLoopback)).toEqual([false, false, false, false]);
});
