/** A slide on the page: dicom-microscopy-viewer over the node's DICOMweb, in coordinates of level-0 pixels. */

import { color, metadata, viewer, type OlMap, type VolumeImageViewer } from "dicom-microscopy-viewer";
import { api } from "dicomweb-client";
import { getJson } from "../shared/api";

export interface Place {
  x: number;
  y: number;
  /** Slide pixels per screen pixel. */
  resolution: number;
}

/** How slide pixels fall on the canvas: screen = (a x + c y + e, b x + d y + f). */
export interface Mapping {
  a: number; b: number; c: number; d: number; e: number; f: number;
  width: number;
  height: number;
  resolution: number;
}

/** The map counts rows downwards from -1: row y begins at -1 - y. */
const toMap = (x: number, y: number): [number, number] => [x, -1 - y];

export interface Uids {
  study: string;
  series: string;
}

const FRAME_OF_REFERENCE = "00200052";
const IMAGE_ORIENTATION = "00480102";

const seriesMetadata = ({ study, series }: Uids): Promise<Record<string, unknown>[]> =>
  getJson<Record<string, unknown>[]>(`/dicomweb/studies/${study}/series/${series}/metadata`);

export class SlideView {
  private constructor(
    private readonly viewer: VolumeImageViewer,
    private readonly map: OlMap,
    private readonly uids: Uids,
    private readonly hasFrameOfReference: boolean,
  ) {}

  static async open(container: HTMLElement, uids: Uids): Promise<SlideView> {
    const client = new api.DICOMwebClient({ url: `${location.origin}/dicomweb`, singlepart: "" });
    const documents = await seriesMetadata(uids);
    // Shown as scanned, like crops and overview; by its own orientation the viewer would turn it, label to the right.
    for (const document of documents) document[IMAGE_ORIENTATION] = { vr: "DS", Value: [0, 1, 0, 1, 0, 0] };
    const images = documents
      .map((document) => new metadata.VLWholeSlideMicroscopyImage({ metadata: document }))
      .filter((image) => image.ImageType[2] === "VOLUME" || image.ImageType[2] === "THUMBNAIL")
      .sort((one, other) => one.TotalPixelMatrixColumns - other.TotalPixelMatrixColumns);
    const shown = new viewer.VolumeImageViewer({
      client,
      metadata: images,
      controls: ["overview"],
      useTileGridResolutions: false,
      errorInterceptor: (error: Error) => error,
    });
    shown.render({ container });
    return new SlideView(shown, shown.getMap(), uids, documents.every((document) => FRAME_OF_REFERENCE in document));
  }

  close(): void {
    this.viewer.cleanup();
  }

  /** A canvas over the slide and under scale bar and overview. */
  addCanvas(): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    const viewport = this.map.getViewport();
    viewport.insertBefore(canvas, viewport.querySelector(".ol-overlaycontainer"));
    return canvas;
  }

  /** Calls `draw` with each frame the slide is painted in. */
  onFrame(draw: (mapping: Mapping) => void): void {
    this.map.on("postrender", ({ frameState }) => {
      if (!frameState) return;
      const [a, b, c, d, e, f] = frameState.coordinateToPixelTransform;
      const [width, height] = frameState.size;
      // screen = M (x, -1 - y): the sign of y turns, and its offset moves into e and f
      draw({ a, b, c: -c, d: -d, e: e - c, f: f - d, width, height, resolution: frameState.viewState.resolution });
    });
  }

  onRest(rest: (place: Place) => void): void {
    this.map.on("moveend", () => {
      const place = this.place();
      if (place) rest(place);
    });
  }

  /** `adding` when shift or control was held. */
  onClick(clicked: (x: number, y: number, adding: boolean) => void): void {
    this.map.on("click", ({ coordinate: [x, y], originalEvent: { shiftKey, ctrlKey, metaKey } }) =>
      clicked(x, -1 - y, shiftKey || ctrlKey || metaKey),
    );
  }

  place(): Place | undefined {
    const view = this.map.getView();
    const center = view.getCenter();
    const resolution = view.getResolution();
    return center && resolution ? { x: center[0], y: -1 - center[1], resolution } : undefined;
  }

  /** The visible area, in slide pixels. */
  area(): { x0: number; y0: number; x1: number; y1: number } | undefined {
    const size = this.map.getSize();
    const place = this.place();
    if (!size || !place) return undefined;
    const half = (Math.max(...size) * place.resolution) / 2; // a slide may lie turned
    return { x0: place.x - half, y0: place.y - half, x1: place.x + half, y1: place.y + half };
  }

  go(place: Place, smoothly = true): void {
    const center = toMap(place.x, place.y);
    const view = this.map.getView();
    if (smoothly && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      view.animate({ center, resolution: place.resolution, duration: 250 });
    } else {
      view.setResolution(place.resolution);
      view.setCenter(center);
    }
  }

  /** A fifth of the window to one side. */
  pan(across: number, down: number): void {
    const [place, size] = [this.place(), this.map.getSize()];
    if (!place || !size) return;
    const step = place.resolution / 5;
    this.go({ ...place, x: place.x + across * size[0] * step, y: place.y + down * size[1] * step });
  }

  zoom(factor: number): void {
    const place = this.place();
    if (place) this.go({ ...place, resolution: place.resolution / factor });
  }

  fit(): void {
    const size = this.map.getSize();
    this.map.getView().fit(this.map.getView().getProjection().getExtent(), size ? { size } : {});
  }

  redraw(): void {
    this.map.render();
  }

  resized(): void {
    this.map.updateSize();
  }

  /** Adds the segments of a SEG series, hidden; returns them with the label each carries. */
  async addSegments(series: string, colorOf: (label: string) => [number, number, number]): Promise<Segments> {
    const documents = await seriesMetadata({ study: this.uids.study, series });
    // A slide without a frame of reference gets one in its results; the viewer compares the two.
    if (!this.hasFrameOfReference) documents.forEach((document) => delete document[FRAME_OF_REFERENCE]);
    this.viewer.addSegments(documents.map((document) => new metadata.Segmentation({ metadata: document })));
    const added = this.viewer.getAllSegments().filter((segment) => segment.seriesInstanceUID === series);
    return new Segments(this.viewer, added.map(({ uid, label }) => ({ uid, label })), colorOf);
  }
}

/** The segments of one series: shown in the colours of their classes, fetched when first shown. */
export class Segments {
  constructor(
    private readonly viewer: VolumeImageViewer,
    readonly all: { uid: string; label: string }[],
    private readonly colorOf: (label: string) => [number, number, number],
  ) {}

  show(label: string, visible: boolean, opacity: number): void {
    for (const { uid } of this.all.filter((segment) => segment.label.toLowerCase() === label.toLowerCase())) {
      if (!visible) {
        this.viewer.hideSegment(uid);
        continue;
      }
      const data = Array.from({ length: 256 }, () => [...this.colorOf(label)]);
      const table = color.buildPaletteColorLookupTable({ data, firstValueMapped: 0 });
      this.viewer.showSegment(uid, { opacity });
      this.viewer.setSegmentStyle(uid, { opacity, paletteColorLookupTable: table });
    }
  }
}
