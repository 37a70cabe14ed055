/** Cells carried from the gallery onto a class. */

const KIND = "application/x-marrow-node-cells";

export function startDrag(event: DragEvent, ids: number[]): void {
  const carried = event.dataTransfer;
  if (!carried) return;
  carried.setData(KIND, JSON.stringify(ids));
  carried.effectAllowed = "move";
  const label = document.createElement("div");
  label.className = "drag-label";
  label.textContent = ids.length === 1 ? "1 cell" : `${ids.length} cells`;
  document.body.append(label);
  carried.setDragImage(label, -8, -8);
  setTimeout(() => label.remove());
}

export const carriesCells = (event: DragEvent): boolean => event.dataTransfer?.types.includes(KIND) ?? false;

export function carriedCells(event: DragEvent): number[] {
  const text = event.dataTransfer?.getData(KIND);
  return text ? (JSON.parse(text) as number[]) : [];
}
