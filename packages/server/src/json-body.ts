/** The body of a request: read within a limit, decoded strictly, and parsed only if it nests no deeper than any real one. */
import { ApiError, badRequest } from "./api-error.js";

/** Arrays and objects within each other. A JSON schema of a published API stays under 30. */
const MAX_DEPTH = 64;

/**
 * @param maxBytes Of the body; what is longer is not read on.
 * @throws {ApiError} 415 for another type than JSON, 413 beyond the limit, 400 for what is no UTF-8, no JSON or nests too deep.
 */
export async function readJsonBody(request: Request, maxBytes: number): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // A page of another origin can send anything but JSON without asking the server first.
  if (!/^application\/json\s*(;|$)/i.test(type)) throw unsupportedType();
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const text = decodeUtf8(await readBytes(request, maxBytes));
  checkDepth(text);
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest("the body is not valid JSON", "invalid_json");
  }
}

async function readBytes({ body }: Request, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = body?.getReader();
  for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) {
    length += step.value.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(step.value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badRequest("the body is not valid UTF-8", "invalid_utf8");
  }
}

/**
 * Everything that walks a parsed document recurses, so depth is judged before.
 *
 * @throws {ApiError} 400 for a body, or a document within it, that nests too deep.
 */
export function checkDepth(text: string): void {
  let depth = 0;
  let isString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (isString) {
      if (character === "\\") i++;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (character === "[" || character === "{") {
      if (++depth > MAX_DEPTH) throw badRequest(`the body nests deeper than ${MAX_DEPTH} levels`, "too_deep");
    } else if (character === "]" || character === "}") depth--;
  }
}

function unsupportedType(): ApiError {
  const message = "expected the header content-type: application/json";
  return new ApiError({ status: 415, message, code: "unsupported_media_type" });
}

function tooLarge(maxBytes: number): ApiError {
  const message = `the body is larger than the ${maxBytes} bytes that this server takes`;
  return new ApiError({ status: 413, message, code: "body_too_large" });
}
