/** A spot in the colour of a class; the name always stands beside it. */

export function Swatch({ color }: { color: string }) {
  return <span class="swatch" aria-hidden="true"><svg viewBox="0 0 11 11"><rect width="11" height="11" rx="2" fill={color} /></svg></span>;
}
