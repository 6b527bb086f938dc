import { ApiError } from "./api";

/** An error as siyu explains it. */
export function Problem({ error, onRetry }: { error: Error; onRetry?: () => void }) {
  const told = error instanceof ApiError ? error : null;
  return (
    <div className="problem" role="alert">
      <strong>{error.message}</strong>
      {told?.remedy && <span>{told.remedy}</span>}
      {told?.requestId && <code>{told.requestId}</code>}
      {onRetry && (
        <button type="button" className="quiet" onClick={onRetry}>
          重试
        </button>
      )}
    </div>
  );
}
