import { useState } from "react";

import { count } from "../words";
import type { ChosenStage, Filters } from "./UsersPage";

const TRACKS: Record<string, string> = { lifecycle: "生命周期", relationship: "用户关系" };

/** The stages of a track, each with its users; a click shows only them. */
export function Stages(props: {
  stages: Filters["stages"];
  chosen: ChosenStage | null;
  onChoose: (stage: ChosenStage | null) => void;
}) {
  const tracks = [...new Set(props.stages.map((stage) => stage.track))];
  const [track, setTrack] = useState("lifecycle");
  const shown = tracks.includes(track) ? track : tracks[0];
  const stages = props.stages.filter((stage) => stage.track === shown);
  const all = Math.max(
    1,
    stages.reduce((sum, stage) => sum + stage.users, 0),
  );
  if (!shown) return null;
  return (
    <section className="stages">
      {tracks.length > 1 && (
        <div className="tracks" role="tablist">
          {tracks.map((each) => (
            <button
              type="button"
              role="tab"
              key={each}
              aria-selected={each === shown}
              onClick={() => {
                setTrack(each);
                props.onChoose(null);
              }}
            >
              {TRACKS[each] ?? each}
            </button>
          ))}
        </div>
      )}
      <div className="funnel">
        {stages.map((stage, place) => {
          const chosen = props.chosen?.track === stage.track && props.chosen.key === stage.key;
          return (
            <button
              type="button"
              key={stage.key}
              className={`stage tone-${place % 5}`}
              aria-pressed={chosen}
              data-stage={stage.key}
              onClick={() => props.onChoose(chosen ? null : { track: stage.track, key: stage.key })}
            >
              <span>{stage.title}</span>
              <strong>{count.format(stage.users)}</strong>
              <small>{Math.round((100 * stage.users) / all)}%</small>
              <i style={{ width: `calc((100% - 32px) * ${stage.users / all})` }} />
            </button>
          );
        })}
      </div>
    </section>
  );
}
