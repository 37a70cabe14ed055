/** The part of dicom-microscopy-viewer the pages use; the package has no types of its own. */
declare module "dicom-microscopy-viewer" {
  export interface Instance {
    readonly SOPInstanceUID: string;
    readonly ImageType: string[];
    readonly TotalPixelMatrixColumns: number;
  }

  export interface OlView {
    getResolution(): number | undefined;
    getCenter(): [number, number] | undefined;
    setCenter(center: [number, number]): void;
    setResolution(resolution: number): void;
    getMinResolution(): number;
    animate(options: { center?: [number, number]; resolution?: number; duration?: number }): void;
    fit(extent: number[], options?: { size?: number[] }): void;
    getProjection(): { getExtent(): number[] };
  }

  export interface FrameState {
    coordinateToPixelTransform: [number, number, number, number, number, number];
    size: [number, number];
    viewState: { resolution: number };
  }

  export interface OlMap {
    on(type: "postrender", listener: (event: { frameState: FrameState | null }) => void): void;
    on(type: "moveend", listener: () => void): void;
    on(type: "click", listener: (event: { coordinate: [number, number]; originalEvent: MouseEvent }) => void): void;
    getViewport(): HTMLElement;
    getView(): OlView;
    getSize(): [number, number] | undefined;
    getCoordinateFromPixel(pixel: [number, number]): [number, number] | null;
    render(): void;
    updateSize(): void;
  }

  export interface Segment {
    readonly uid: string;
    readonly number: number;
    readonly label: string;
    readonly seriesInstanceUID: string;
  }

  export class VolumeImageViewer {
    constructor(options: Record<string, unknown>);
    render(options: { container: HTMLElement }): void;
    cleanup(): void;
    getMap(): OlMap;
    addSegments(metadata: unknown[]): void;
    getAllSegments(): Segment[];
    showSegment(uid: string, style?: Record<string, unknown>): void;
    hideSegment(uid: string): void;
    setSegmentStyle(uid: string, style: Record<string, unknown>): void;
  }

  export const viewer: { VolumeImageViewer: typeof VolumeImageViewer };
  export const metadata: {
    VLWholeSlideMicroscopyImage: new (options: { metadata: object }) => Instance;
    Segmentation: new (options: { metadata: object }) => Instance & {
      SegmentSequence: { SegmentNumber: number; SegmentLabel: string; RecommendedDisplayCIELabValue?: number[] }[];
    };
  };
  export const color: {
    buildPaletteColorLookupTable(options: { data: number[][]; firstValueMapped: number }): unknown;
  };
  export function setLogLevel(level: number): void;
}
