/** One key for each class, by the letter it bears or by its place on the keyboard. */

export interface KeyLayout {
  id: string;
  title: string;
  by: "letter" | "place";
  /** Class to letter, or to `KeyboardEvent.code`. */
  keys: Record<string, string>;
}

/** Letters of the class's name, as far as they go. */
const LETTERS: KeyLayout = {
  id: "letters",
  title: "by letter",
  by: "letter",
  keys: {
    "myeloblast": "b",
    "promyelocyte": "p",
    "intermediate neutrophilic myelocyte": "y",
    "late neutrophilic myelocyte": "t",
    "band neutrophil": "n",
    "segmented neutrophil": "s",
    "eosinophil": "e",
    "basophil": "a",
    "promonocyte": "o",
    "immature monocyte": "i",
    "monocyte": "m",
    "lymphocyte": "l",
    "plasma cell": "c",
    "early erythroblast": "f",
    "intermediate erythroblast": "g",
    "late erythroblast": "h",
    "prolymphocyte": "r",
    "atypical lymphocyte": "v",
    "immature lymphocyte": "w",
    "smudge cell": "u",
    "apoptotic cell": "q",
    "others": "x",
  },
};

/** A row of the keyboard for each lineage, from blast to mature, wherever the letters are. */
const ROWS: KeyLayout = {
  id: "rows",
  title: "by row",
  by: "place",
  keys: {
    "myeloblast": "Digit1",
    "promyelocyte": "Digit2",
    "intermediate neutrophilic myelocyte": "Digit3",
    "late neutrophilic myelocyte": "Digit4",
    "band neutrophil": "Digit5",
    "segmented neutrophil": "Digit6",
    "eosinophil": "Digit7",
    "basophil": "Digit8",
    "promonocyte": "KeyQ",
    "immature monocyte": "KeyW",
    "monocyte": "KeyE",
    "lymphocyte": "KeyR",
    "plasma cell": "KeyT",
    "early erythroblast": "KeyA",
    "intermediate erythroblast": "KeyS",
    "late erythroblast": "KeyD",
    "prolymphocyte": "KeyF",
    "atypical lymphocyte": "KeyG",
    "immature lymphocyte": "KeyH",
    "smudge cell": "KeyZ",
    "apoptotic cell": "KeyX",
    "others": "KeyC",
  },
};

export const LAYOUTS: readonly KeyLayout[] = [LETTERS, ROWS];
const KEPT_AS = "marrow-node.keys";

export function storedLayout(): KeyLayout {
  const id = localStorage.getItem(KEPT_AS);
  return LAYOUTS.find((layout) => layout.id === id) ?? LETTERS;
}

export const storeLayout = (layout: KeyLayout): void => localStorage.setItem(KEPT_AS, layout.id);

/** The class whose key was pressed. */
export function classOfKey(layout: KeyLayout, event: KeyboardEvent): string | undefined {
  if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
  const pressed = layout.by === "letter" ? event.key.toLowerCase() : event.code;
  return Object.keys(layout.keys).find((name) => layout.keys[name] === pressed);
}

/** What is printed on the key of each class, on this keyboard as far as the browser tells. */
export async function keyCaps(layout: KeyLayout): Promise<Record<string, string>> {
  const printed = layout.by === "place" ? await keyboardMap() : undefined;
  const cap = (key: string) => (printed?.get(key) ?? key.replace(/^(Key|Digit)/, "")).toUpperCase();
  return Object.fromEntries(Object.entries(layout.keys).map(([name, key]) => [name, cap(key)]));
}

type KeyboardMap = Pick<Map<string, string>, "get">;

async function keyboardMap(): Promise<KeyboardMap | undefined> {
  const { keyboard } = navigator as Navigator & { keyboard?: { getLayoutMap(): Promise<KeyboardMap> } };
  return keyboard?.getLayoutMap().catch(() => undefined);
}
