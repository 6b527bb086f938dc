/** Says when what a page shows has changed: after single events, and by refreshes of all users. */

import { useEffect, useEffectEvent, useState } from "react";

import type { Api } from "../api";
import {
  RunProgressDocument,
  type RunProgressSubscription,
  StageChangesDocument,
  TagChangesDocument,
  type TypedDocumentString,
} from "../gql/graphql";

export type Run = RunProgressSubscription["runProgress"];

const AGAIN_MS = 1_000;
const PAUSE_MS = 500;

/** Subscribes again whenever the subscription that `begin` makes has ended; returns how to end it for good. */
function lasting(begin: (ended: () => void) => () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  let over = false;
  let stop: () => void;
  const again = () => {
    stop = begin(() => {
      if (!over) timer = setTimeout(again, AGAIN_MS);
    });
  };
  again();
  return () => {
    over = true;
    clearTimeout(timer);
    stop();
  };
}

/** Changes of tags or stages. Nothing is missed between the list that a page has read and what it is told. */
function decisions<Data>(
  api: Api,
  brand: string,
  document: TypedDocumentString<Data, { brand: string; after?: string | null }>,
  read: (data: Data) => { cursor: string; changes: unknown[] },
  changed: () => void,
): () => void {
  return lasting((ended) => {
    // Sent as they are then, also when a lost connection is open again: it goes on from the last cursor.
    const variables: { brand: string; after?: string } = { brand };
    const told = (data: Data) => {
      const { cursor, changes } = read(data);
      // What was read before the first result may be older than its cursor.
      if (variables.after === undefined || changes.length > 0) changed();
      variables.after = cursor;
    };
    return api.follow(document, variables, told, ended);
  });
}

/** Refreshes, one after the other: each subscription ends with the run that it follows. */
function refreshes(api: Api, brand: string, shown: (run: Run) => void, changed: () => void): () => void {
  const told = ({ runProgress }: RunProgressSubscription) => {
    shown(runProgress);
    if (runProgress.status === "DONE") changed();
  };
  return lasting((ended) => api.follow(RunProgressDocument, { brand }, told, ended));
}

/** `load`, once for all who ask while it is under way, with a pause between, and only while the page can be seen. */
function gently(load: () => Promise<unknown>): { ask: () => void; stop: () => void } {
  let due = false;
  let busy = false;
  async function work() {
    busy = true;
    while (due && document.visibilityState === "visible") {
      due = false;
      await load();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    busy = false;
  }
  const go = () => {
    if (!busy) void work();
  };
  document.addEventListener("visibilitychange", go);
  return {
    ask: () => {
      due = true;
      go();
    },
    stop: () => {
      due = false;
      document.removeEventListener("visibilitychange", go);
    },
  };
}

/** Calls `changed` whenever it may have; the run that is under way or was last, if there was one meanwhile. */
export function useLive(api: Api, brand: string, changed: () => Promise<unknown>): Run | null {
  const [run, setRun] = useState<Run | null>(null);
  const load = useEffectEvent(() => changed());
  useEffect(() => {
    const { ask, stop } = gently(() => load());
    const stops = [
      decisions(api, brand, StageChangesDocument, (data) => data.stageChanges, ask),
      decisions(api, brand, TagChangesDocument, (data) => data.tagChanges, ask),
      refreshes(api, brand, setRun, ask),
      stop,
    ];
    return () => {
      for (const each of stops) each();
    };
  }, [api, brand]);
  return run;
}
