/** Where on a cell the classifier looked, painted over its picture. */

import { useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  /** Rows of values from 0 to 255, a square grid. */
  grid: number[][];
  /** Side of the grid over the side of the picture. */
  share: number;
  opacity: number;
}

/** From nothing over violet and orange to light yellow, lighter with each step, so that it reads without colour too. */
const STOPS: [number, number, number][] = [[30, 12, 70], [120, 28, 109], [203, 65, 73], [251, 155, 6], [252, 255, 164]];

export function HeatMap({ grid, share, opacity }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    const side = grid.length;
    const image = context.createImageData(side, side);
    grid.flat().forEach((value, place) => {
      const [red, green, blue] = colorAt(value / 255);
      image.data.set([red, green, blue, value], place * 4);
    });
    context.putImageData(image, 0, 0);
  }, [grid]);
  const side = `${share * 100}%`;
  const inset = `${(1 - share) * 50}%`;
  return <canvas class="heat" ref={canvas} width={grid.length} height={grid.length} style={{ left: inset, top: inset, width: side, height: side, opacity }} aria-hidden="true" />;
}

function colorAt(value: number): [number, number, number] {
  const at = Math.min(value, 0.9999) * (STOPS.length - 1);
  const [low, high] = [STOPS[Math.floor(at)]!, STOPS[Math.floor(at) + 1]!];
  const mix = (channel: 0 | 1 | 2) => Math.round(low[channel] + (high[channel] - low[channel]) * (at % 1));
  return [mix(0), mix(1), mix(2)];
}
