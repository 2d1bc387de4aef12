import type { FieldProblem } from "chatroom-sdk";
import type { Texts } from "./i18n/en.ts";

/** A refusal or failure in the reader's words, by its code (PROTOCOL.md section 2). */
export function problemText(texts: Texts, code: string): string {
  switch (code) {
    case "network":
      return texts.problemNetwork;
    case "rate_limited":
      return texts.problemRateLimited;
    case "unavailable":
      return texts.problemUnavailable;
    case "internal":
      return texts.problemInternal;
    case "forbidden":
      return texts.problemForbidden;
    case "not_found":
      return texts.problemNotFound;
    case "conflict":
      return texts.problemConflict;
    case "payload_too_large":
      return texts.problemTooLarge;
    case "unauthorized":
    case "token_expired":
    case "token_reused":
      return texts.problemExpired;
    default:
      return texts.problemInvalid;
  }
}

/** What is wrong with one field, if anything. `rule` says what goes in there. */
export function fieldError(
  fields: readonly FieldProblem[],
  field: string,
  texts: Texts,
  rule: string,
): string | undefined {
  switch (fields.find((problem) => problem.field === field)?.code) {
    case undefined:
      return undefined;
    case "blank":
      return texts.required;
    case "common":
      return texts.commonPassword;
    case "mixed_scripts":
      return texts.mixedScripts;
    default:
      return rule;
  }
}
