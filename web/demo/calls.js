// Unary calls through fetch and XMLHttpRequest, streams read line by line, and failures as they come.

const CODES = ['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS',
  'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED',
  'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'];

export const codeName = (code) => CODES[code] ?? `CODE_${code}`;

/** A failed call: what the gateway or the backend said, or that no answer came. */
export class CallError extends Error {
  constructor({ code = 2, message = '', details = [] }, http) {
    super(message || 'no reason was given');
    Object.assign(this, { code, details, http, codeName: codeName(code) });
  }

  /** From an HTTP answer's body: a `google.rpc.Status` in JSON. */
  static fromBody(text, http) {
    try {
      const status = JSON.parse(text);
      if (Number.isInteger(status?.code)) return new CallError(status, http);
    } catch { /* not our error shape: the HTTP status says all that is known */ }
    return new CallError({ message: `HTTP ${http}, without a status in the body` }, http);
  }

  /** No answer at all: the network, or the gateway, is away. */
  static unreachable(cause) {
    return new CallError({ code: 14, message: `no answer came (${cause})` });
  }

  toJSON() {
    return { code: this.code, message: this.message, details: this.details };
  }
}

function ended(call, http, failure) {
  if (failure) call.end(`${http ?? ''} ${failure.codeName}`.trim(), true);
  else call.end(String(http));
}

/** A call through fetch; the answer as JSON, or as an ArrayBuffer where `binary`. */
export async function viaFetch(wire, method, path, { body, binary = false, headers = {}, signal } = {}) {
  const call = wire.open('fetch', method, path);
  const text = body === undefined ? undefined : JSON.stringify(body);
  if (text !== undefined) call.sent(text);
  let response;
  let data;
  try {
    response = await fetch(path, {
      method, body: text, signal, headers: text === undefined ? headers : { 'content-type': 'application/json', ...headers },
    });
    data = await response.arrayBuffer();
  } catch (cause) {
    const failure = CallError.unreachable(cause.message);
    ended(call, response?.status, failure);
    throw failure;
  }
  call.received(data);
  const failure = response.ok ? undefined : CallError.fromBody(decode(data), response.status);
  ended(call, response.status, failure);
  if (failure) throw failure;
  return { data: binary ? data : JSON.parse(decode(data)), encoding: response.headers.get('content-encoding') };
}

/** The same call through XMLHttpRequest. */
export function viaXhr(wire, method, path, { body, binary = false } = {}) {
  const call = wire.open('xhr', method, path);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const request = new XMLHttpRequest();
  request.open(method, path);
  request.responseType = 'arraybuffer';
  if (text !== undefined) {
    request.setRequestHeader('content-type', 'application/json');
    call.sent(text);
  }
  return new Promise((resolve, reject) => {
    request.onload = () => {
      call.received(request.response);
      const ok = request.status >= 200 && request.status < 300;
      const failure = ok ? undefined : CallError.fromBody(decode(request.response), request.status);
      ended(call, request.status, failure);
      if (failure) return reject(failure);
      const data = binary ? request.response : JSON.parse(decode(request.response));
      return resolve({ data, encoding: request.getResponseHeader('content-encoding') });
    };
    request.onerror = () => {
      const failure = CallError.unreachable('network error');
      ended(call, undefined, failure);
      reject(failure);
    };
    request.send(text);
  });
}

/** Cuts text that arrives in pieces into whole lines. */
export class Lines {
  #rest = '';

  take(piece) {
    const lines = (this.#rest + piece).split('\n');
    this.#rest = lines.pop();
    return lines.filter((line) => line.trim() !== '');
  }
}

/** The message of an NDJSON line, `{"result": …}`; throws what `{"error": …}` says. */
export function resultOf(line) {
  const { result, error } = JSON.parse(line);
  if (error) throw new CallError(error);
  return result;
}

function decode(buffer) {
  return new TextDecoder().decode(buffer);
}
