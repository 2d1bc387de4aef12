/**
 * What can go wrong with a request: RFC 9457 problem documents as errors, and the two things that
 * never reach the server (no network, no readable answer) in the same shape.
 */

/** One field that was refused, as in a `validation_failed` document. */
export interface FieldProblem {
  readonly field: string;
  readonly code: string;
  readonly message: string;
}

/** A refused or failed request. `status` is 0 when no answer came. */
export class Problem extends Error {
  readonly status: number;
  /** A code of PROTOCOL.md section 2, or `network` when no answer came. */
  readonly code: string;
  readonly fields: readonly FieldProblem[];
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    status: number,
    code: string,
    message: string,
    more: { fields?: readonly FieldProblem[]; requestId?: string; retryAfterMs?: number } = {},
  ) {
    super(message);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.fields = more.fields ?? [];
    this.requestId = more.requestId;
    this.retryAfterMs = more.retryAfterMs;
  }

  /** Whether the same request may succeed later (PROTOCOL.md section 4, promise 6). */
  get passing(): boolean {
    return isPassing(this.code);
  }
}

/** Whether an error code leaves the outcome unknown or only postpones it; all others are final. */
export function isPassing(code: string): boolean {
  return PASSING.has(code);
}

/** Anything thrown, as a `Problem`. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, "network", error instanceof Error ? error.message : String(error));
}

/** Reads the problem document of an answer that was not a success. */
export async function readProblem(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => undefined);
  const document = typeof body === "object" && body !== null ? (body as Document) : {};
  const seconds = Number.parseFloat(response.headers.get("retry-after") ?? "");
  const requestId = document.request_id ?? response.headers.get("x-request-id") ?? undefined;
  return new Problem(
    response.status,
    document.code ?? CODES.get(response.status) ?? (response.status < 500 ? "bad_request" : "unavailable"),
    document.detail ?? document.title ?? response.statusText,
    {
      fields: Array.isArray(document.errors) ? document.errors : [],
      ...(requestId === undefined ? {} : { requestId }),
      ...(Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {}),
    },
  );
}

interface Document {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly FieldProblem[];
  readonly request_id?: string;
}

const PASSING: ReadonlySet<string> = new Set(["internal", "unavailable", "rate_limited", "network"]);

/** For answers without a document: a proxy in between speaks only HTTP. */
const CODES: ReadonlyMap<number, string> = new Map([
  [401, "unauthorized"],
  [403, "forbidden"],
  [404, "not_found"],
  [409, "conflict"],
  [413, "payload_too_large"],
  [429, "rate_limited"],
  [500, "internal"],
]);
