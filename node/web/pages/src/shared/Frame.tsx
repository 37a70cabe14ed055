/** What every page has around it: the bar with the ways to other pages, the live mark and who is signed in. */

import type { ComponentChildren } from "preact";
import { Session } from "./Session";

export { Refusal } from "./Refusal";

export function Brand() {
  return (
    <a class="brand" href="/">
      <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
        <circle cx="12" cy="12" r="10.5" class="mark-cell" />
        <path d="M7 13.5a4 4 0 0 1 3.4-6.2c1.6 0 2 1 3.4 1.1 1.9.2 3.6 1.5 3.4 4.1-.2 2.7-2.4 4.6-5 4.2-1.6-.2-1.7-1.2-3-1.6-.9-.3-1.7-.7-2.2-1.6z" class="mark-nucleus" />
      </svg>
      Marrow Node
    </a>
  );
}

interface Props {
  /** Whether changes come as they happen; absent on a page that does not listen. */
  live?: boolean;
  children: ComponentChildren;
}

const PAGES: [address: string, title: string][] = [["/", "Worklist"], ["/agreement", "Agreement"]];

export function Frame({ live, children }: Props) {
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <header class="bar">
        <Brand />
        <span class="bar-note">Bone marrow differential count</span>
        <nav class="bar-pages" aria-label="Pages">
          {PAGES.map(([address, title]) => <a key={address} href={address} aria-current={location.pathname === address ? "page" : undefined}>{title}</a>)}
        </nav>
        {live !== undefined && (
          <span class={live ? "live live-on" : "live"} role="status">
            <span class="live-dot" aria-hidden="true" />
            {live ? "Live" : "Connecting…"}
          </span>
        )}
        <Session />
      </header>
      <main id="main" tabIndex={-1}>{children}</main>
    </>
  );
}
