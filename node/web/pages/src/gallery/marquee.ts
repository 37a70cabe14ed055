/** A rectangle drawn over the gallery, from a place between the tiles. */

import { useEffect, useRef, useState } from "preact/hooks";

export interface Rectangle {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

const BEGINS_AFTER = 4; // pixels: less is a click

/** `onDraw` gets the rectangle in the coordinates of what scrolls, and whether it adds to what is chosen. */
export function useMarquee(scroller: { current: HTMLElement | null }, onDraw: (rectangle: Rectangle, besides: boolean) => void) {
  const [shown, setShown] = useState<Rectangle>();
  const draw = useRef(onDraw);
  draw.current = onDraw;
  const end = useRef<() => void>(undefined);
  useEffect(() => () => end.current?.(), []);

  const begin = (event: PointerEvent) => {
    const onTile = event.target instanceof Element && event.target.closest("[data-index], .link");
    const element = scroller.current;
    if (event.button !== 0 || onTile || !element || event.offsetX > element.clientWidth) return;
    const besides = event.ctrlKey || event.metaKey || event.shiftKey;
    const at = (point: PointerEvent) => {
      const box = element.getBoundingClientRect();
      return { x: point.clientX - box.left, y: point.clientY - box.top + element.scrollTop };
    };
    const start = at(event);
    const move = (point: PointerEvent) => {
      const { x, y } = at(point);
      if (Math.hypot(x - start.x, y - start.y) < BEGINS_AFTER) return;
      const rectangle = { x0: Math.min(x, start.x), y0: Math.min(y, start.y), x1: Math.max(x, start.x), y1: Math.max(y, start.y) };
      setShown(rectangle);
      draw.current(rectangle, besides);
      const box = element.getBoundingClientRect();
      if (point.clientY > box.bottom - 20) element.scrollTop += 24;
      else if (point.clientY < box.top + 20) element.scrollTop -= 24;
    };
    end.current = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end.current!);
      removeEventListener("pointercancel", end.current!);
      setShown(undefined);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end.current);
    addEventListener("pointercancel", end.current);
  };
  return { shown, begin };
}
