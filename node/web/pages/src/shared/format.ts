/** Numbers, times and names as a person reads them. */

const whole = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const count = (value: number): string => whole.format(value);
export const percent = (value: number): string => value.toFixed(1);
export const dateTime = (iso: string): string => moment.format(new Date(iso));
export const exactTime = (iso: string): string => clock.format(new Date(iso));

/** "12 min", "3 h", "5 d": how long ago. */
export function age(iso: string, now: number): string {
  const minutes = Math.max(0, Math.floor((now - Date.parse(iso)) / 60_000));
  if (minutes < 1) return "< 1 min";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h`;
  return `${Math.floor(minutes / (24 * 60))} d`;
}

export function ago(iso: string, now: number): string {
  return now - Date.parse(iso) < 60_000 ? "just now" : `${age(iso, now)} ago`;
}

/** HL7 and DICOM write family^given^middle^prefix^suffix; people read "Family, Given". */
export function personName(name: string): string {
  const [family = "", given = "", middle = ""] = name.split("^");
  const first = [given, middle].filter(Boolean).join(" ");
  return [family, first].filter(Boolean).join(", ");
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  if (size < 1_000_000) return `${(size / 1000).toFixed(0)} kB`;
  return `${(size / 1_000_000).toFixed(1)} MB`;
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
