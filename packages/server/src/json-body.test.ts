import { expect, it } from "vitest";
import type { ApiError } from "./api-error.js";
import { readJsonBody } from "./json-body.js";

const request = (body: BodyInit, type = "application/json") =>
  new Request("http://localhost/", { method: "POST", body, headers: { "content-type": type } });
const failure = (body: BodyInit, maxBytes = 1000, type?: string): Promise<ApiError> =>
  readJsonBody(request(body, type), maxBytes).then(
    () => Promise.reject(new Error("expected it to fail")),
    (error) => error,
  );

it("reads what is there, to the last byte that is allowed", async () => {
  const body = '{"a":"é"}';
  expect(await readJsonBody(request(body), new TextEncoder().encode(body).length)).toEqual({ a: "é" });
  expect(await readJsonBody(request(body, "Application/JSON; charset=utf-8"), 100)).toEqual({ a: "é" });
});

it.each([
  ["a body that says that it is too large", 413, "body_too_large", "x".repeat(1001)],
  ["a body that does not say how large it is", 413, "body_too_large", new Blob(["x".repeat(1001)]).stream()],
  ["bytes that are no UTF-8", 400, "invalid_utf8", Uint8Array.of(0x7b, 0xff, 0x7d)],
  ["half a character", 400, "invalid_utf8", Uint8Array.of(0x22, 0xc3)],
  ["no JSON", 400, "invalid_json", "{"],
  ["nothing", 400, "invalid_json", ""],
  ["arrays within each other without end", 400, "too_deep", "[".repeat(900)],
  ["objects within each other, one too many", 400, "too_deep", `${'{"a":'.repeat(65)}1${"}".repeat(65)}`],
] as const)("%s is refused with %d %s", async (_, status, code, body) => {
  const stream = body instanceof ReadableStream;
  const given = stream ? new Request("http://localhost/", streamed(body)) : request(body as BodyInit);
  const error = await readJsonBody(given, 1000).catch((one: ApiError) => one);
  expect(error).toMatchObject({ status, code });
});

const streamed = (body: ReadableStream) =>
  ({ method: "POST", body, duplex: "half", headers: { "content-type": "application/json" } }) as RequestInit;

it("brackets within texts are no depth, and neither are siblings", async () => {
  const text = JSON.stringify({ a: `${"[".repeat(200)}\\"`, b: Array.from({ length: 200 }, () => []) });
  expect(await readJsonBody(request(text), 2000)).toEqual(JSON.parse(text));
});

it.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])(
  "the type %j, which a page of another origin may send unasked, is refused with 415",
  async (type) => expect(await failure("{}", 1000, type)).toMatchObject({ status: 415 }),
);
