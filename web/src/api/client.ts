// Enters: a path under api/v1 and its parameters. Leaves: the answer, or an ApiError that carries the API's own message.
// Addresses are relative to the page, so the page works behind a reverse proxy's path prefix.

export type Params = Record<string, string | number | null | undefined>;

/** What went wrong, in words fit to show: the API's message where it sent one. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    readonly code: string,
    message: string,
    /** HTTP status; 0 when no answer arrived. */
    readonly status: number,
  ) {
    super(message);
  }
}

/** `path?a=1&b=2`, parameters in the order given, absent ones left out. */
export function requestPath(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** The API's `{"error": {"code", "message"}}`, or words of our own when the body is something else. */
export function errorFromBody(status: number, body: string): ApiError {
  try {
    const error = (JSON.parse(body) as { error?: { code?: unknown; message?: unknown } }).error;
    if (error !== undefined && typeof error.message === "string") {
      return new ApiError(typeof error.code === "string" ? error.code : "error", error.message, status);
    }
  } catch {
    // Not the API's JSON: a proxy's page, most likely.
  }
  return new ApiError("http", `The collector answered with status ${status}.`, status);
}

export async function getJson<T>(path: string, signal: AbortSignal): Promise<T> {
  const address = new URL(`api/v1/${path}`, document.baseURI);
  let response: Response;
  try {
    response = await fetch(address, { signal, headers: { accept: "application/json" } });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new ApiError("unreachable", "The collector does not answer. Is it running?", 0);
  }
  const body = await response.text();
  if (!response.ok) throw errorFromBody(response.status, body);
  try {
    return JSON.parse(body) as T;
  } catch {
    throw new ApiError("bad_answer", "The collector's answer is not JSON.", response.status);
  }
}
