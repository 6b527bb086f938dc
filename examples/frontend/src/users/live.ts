/** Says when what a page shows may have changed. */

import { useEffect, useEffectEvent, useState } from "react";

import type { Api } from "../api";
import { RunProgressDocument, type RunProgressSubscription } from "../gql/graphql";

export type Run = RunProgressSubscription["runProgress"];

/** Begins to tell of changes, and returns how to end it; `changed` is done when the page has caught up. */
type Source = (changed: () => Promise<unknown>) => () => void;

const LOOK_MS = 3_000;
const AGAIN_MS = 1_000;

/** Refreshes, one after the other: each subscription ends with the run that it follows. */
function refreshes(api: Api, brand: string, shown: (run: Run) => void): Source {
  return (changed) => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    let stop: (() => void) | undefined;
    const begin = () => {
      stop = api.follow(
        RunProgressDocument,
        { brand },
        ({ runProgress }) => {
          shown(runProgress);
          if (runProgress.status === "DONE") void changed();
        },
        () => {
          if (!over) timer = setTimeout(begin, AGAIN_MS);
        },
      );
    };
    begin();
    return () => {
      over = true;
      clearTimeout(timer);
      stop?.();
    };
  };
}

/**
 * What is decided after single events: looked for every few seconds while the page can be seen. A subscription to the
 * changes of tags and stages would be a source like the one above, and take the place of this one.
 */
const looks: Source = (changed) => {
  let over = false;
  let timer = setTimeout(look, LOOK_MS);
  function look() {
    const done = document.visibilityState === "visible" ? changed() : Promise.resolve();
    void done.finally(() => {
      if (!over) timer = setTimeout(look, LOOK_MS);
    });
  }
  return () => {
    over = true;
    clearTimeout(timer);
  };
};

/** Calls `changed` whenever it may have; the run that is under way or was last, if there was one meanwhile. */
export function useLive(api: Api, brand: string, changed: () => Promise<unknown>): Run | null {
  const [run, setRun] = useState<Run | null>(null);
  const tell = useEffectEvent(() => changed());
  useEffect(() => {
    const stops = [refreshes(api, brand, setRun), looks].map((source) => source(() => tell()));
    return () => {
      for (const stop of stops) stop();
    };
  }, [api, brand]);
  return run;
}
