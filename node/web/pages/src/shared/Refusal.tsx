/** What the node refused, and the remedy. */

import { NodeError } from "./api";

export function Refusal({ error }: { error: Error }) {
  const remedy = error instanceof NodeError ? error.remedy : "check that the node runs, then reload the page";
  return (
    <div class="refusal" role="alert">
      <strong>{error.message || "The node did not answer"}</strong>
      {remedy && <span> Remedy: {remedy}.</span>}
    </div>
  );
}
