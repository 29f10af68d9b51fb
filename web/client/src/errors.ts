// How calls fail: gRPC's status codes, and the one error that callers see. Knows nothing of connections.

/** `google.rpc.Code`. */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type CodeName = keyof typeof Code;
export type Code = (typeof Code)[CodeName];

const NAMES = Object.keys(Code) as CodeName[];

/** Names of metadata to their values; several values of one name stand in one, with commas. */
export type Metadata = Readonly<Record<string, string>>;

/** A detail of an error: a message of the type that `@type` names, as `type.googleapis.com/google.rpc.ErrorInfo`. */
export interface ErrorDetail {
  readonly "@type": string;
  readonly [member: string]: unknown;
}

/** What an error is made of beside its code and its text. */
export interface ErrorParts {
  details?: readonly ErrorDetail[];
  metadata?: Metadata;
  cause?: unknown;
}

/** How a call failed. */
export class TidegateError extends Error {
  override readonly name = "TidegateError";
  readonly code: Code;
  readonly details: readonly ErrorDetail[];
  /** The trailers of the call. */
  readonly metadata: Metadata;

  constructor(code: Code, message: string, { details = [], metadata = {}, cause }: ErrorParts = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
    this.metadata = metadata;
  }

  get codeName(): CodeName {
    return NAMES[this.code] ?? "UNKNOWN";
  }

  /** The same call may go well later: UNAVAILABLE, or whatever the server says may be tried again. */
  get retryable(): boolean {
    return this.code === Code.UNAVAILABLE || this.detail("google.rpc.RetryInfo") !== undefined;
  }

  /** How long the server wants to be left alone, in milliseconds; 0 where it does not say. */
  get retryAfterMs(): number {
    const delay = /^(\d+(?:\.\d+)?)s$/.exec(String(this.detail("google.rpc.RetryInfo")?.["retryDelay"]));
    return delay ? Number(delay[1]) * 1000 : 0;
  }

  /** The stable reason of `google.rpc.ErrorInfo`, as `DRAINING`. */
  get reason(): string | undefined {
    const reason = this.detail("google.rpc.ErrorInfo")?.["reason"];
    return typeof reason === "string" ? reason : undefined;
  }

  /** The first detail of a type, by its full name. */
  detail(type: string): ErrorDetail | undefined {
    return this.details.find((detail) => detail["@type"].endsWith(`/${type}`));
  }

  /** An error as the gateway writes it: `{"code","message","details"}`. */
  static from(told: unknown, metadata: Metadata = {}): TidegateError {
    const { code, message, details } = isObject(told) ? told : {};
    return new TidegateError(asCode(code), typeof message === "string" ? message : "", {
      details: Array.isArray(details) ? details.filter(isDetail) : [],
      metadata,
    });
  }

  /** Whatever was thrown, as an error of a call. */
  static of(thrown: unknown, code: Code, message: string): TidegateError {
    return thrown instanceof TidegateError ? thrown : new TidegateError(code, message, { cause: thrown });
  }
}

/** A number as a code; what is none is UNKNOWN. */
export function asCode(code: unknown): Code {
  return typeof code === "number" && NAMES[code] !== undefined ? (code as Code) : Code.UNKNOWN;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDetail(value: unknown): value is ErrorDetail {
  return isObject(value) && typeof value["@type"] === "string";
}
