/** A body held against its schema; what does not fit is named by its path, as OpenAI's errors do. */
import * as v from "valibot";
import { type ApiError, badRequest } from "./api-error.js";

/** Of a complaint: it may quote what it found. */
const MAX_MESSAGE_LENGTH = 300;

/**
 * The body as its schema types it.
 *
 * @throws {ApiError} 400 naming the first field that is missing, unknown or of the wrong kind.
 */
export function parseRequest<Schema extends v.GenericSchema>(schema: Schema, body: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, body, { abortEarly: true });
  if (result.success) return result.output;
  throw complaint(result.issues[0]);
}

function complaint(issue: v.BaseIssue<unknown>): ApiError {
  const path = v.getDotPath(issue);
  if (path === null) return badRequest("expected a JSON object", "invalid_type");
  const isKey = issue.type === "strict_object" && issue.kind === "schema" && issue.expected !== "Object";
  if (isKey && issue.expected === "never") {
    return badRequest(`${path} is not supported; leave the field out`, "unsupported_parameter", path);
  }
  if (isKey) return badRequest(`${path} is missing`, "missing_required_parameter", path);
  return badRequest(`${path}: ${issue.message}`.slice(0, MAX_MESSAGE_LENGTH), "invalid_value", path);
}
