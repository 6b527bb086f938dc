/** Asking siyu: one answer over HTTP, many over a WebSocket. */

import { type Client, createClient } from "graphql-ws";

import type { TypedDocumentString } from "./gql/graphql";

interface Shown {
  message: string;
  extensions?: { code?: string; remedy?: string; requestId?: string };
}

/** What siyu says is wrong, for people: with what to do about it, and the request that finds it in the log. */
export class ApiError extends Error {
  readonly code: string;
  readonly remedy: string | undefined;
  readonly requestId: string | undefined;

  constructor(errors: Shown[]) {
    const [first] = errors;
    super(first?.message ?? "没有应答");
    this.name = "ApiError";
    this.code = first?.extensions?.code ?? "UNKNOWN";
    this.remedy = first?.extensions?.remedy;
    this.requestId = first?.extensions?.requestId;
  }
}

/** Closed because the token is not valid: trying again would not help. */
const refused = (event: unknown) => event instanceof CloseEvent && event.code === 4401;

export class Api {
  private readonly token: string;
  private readonly socket: Client;

  constructor(token: string, onConnection: (open: boolean) => void = () => {}) {
    this.token = token;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    // Opened for the first subscription, closed after the last.
    this.socket = createClient({
      url: `${scheme}://${location.host}/graphql`,
      connectionParams: { Authorization: `Bearer ${token}` },
      retryAttempts: Number.POSITIVE_INFINITY,
      shouldRetry: (event) => !refused(event),
      on: { connected: () => onConnection(true), closed: () => onConnection(false) },
    });
  }

  /** The data of an answer; every error is thrown. */
  async ask<Data, Variables>(
    document: TypedDocumentString<Data, Variables>,
    variables: Variables,
    signal?: AbortSignal,
  ): Promise<Data> {
    const response = await fetch("/graphql", {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        Authorization: `Bearer ${this.token}`,
      },
      body: JSON.stringify({ query: document.toString(), variables }),
      signal: signal ?? null,
    });
    const answer = (await response.json().catch(() => ({ errors: [{ message: `HTTP ${response.status}` }] }))) as {
      data?: Data;
      errors?: Shown[];
    };
    if (answer.errors?.length || !answer.data) throw new ApiError(answer.errors ?? []);
    return answer.data;
  }

  /**
   * Calls `next` with each answer until the subscription ends or the returned function is called. A lost connection is
   * opened again, and `variables` are sent as they are then.
   */
  follow<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentString<Data, Variables>,
    variables: Variables,
    next: (data: Data) => void,
    ended: () => void,
  ): () => void {
    return this.socket.subscribe<Data>(
      { query: document.toString(), variables },
      {
        next: (result) => result.data && next(result.data),
        error: (error) => refused(error) || ended(),
        complete: ended,
      },
    );
  }
}
