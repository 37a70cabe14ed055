/** The sign-in page; it leads back to where one wanted to go. */

import { render } from "preact";
import { useState } from "preact/hooks";
import { sendJson, type Person } from "../shared/api";
import { Brand, Refusal } from "../shared/Frame";

function SignInPage() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const signIn = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await sendJson<Person>("POST", "/api/session", { name, password });
      location.replace(wanted());
    } catch (reason) {
      setError(reason as Error);
      setPassword("");
      setBusy(false);
    }
  };
  return (
    <>
      <header class="bar"><Brand /></header>
      <main class="sign-in">
        <form class="card" onSubmit={(event) => void signIn(event)}>
          <h1>Sign in</h1>
          <label class="field">
            <span>Name</span>
            <input name="name" autocomplete="username" autocapitalize="none" spellcheck={false} required autofocus maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Password</span>
            <input name="password" type="password" autocomplete="current-password" required maxLength={256} value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
          </label>
          {error && <Refusal error={error} />}
          <button type="submit" class="primary" disabled={busy}>Sign in</button>
          <p class="muted">Accounts are made by who runs the node: <code>marrow-node user add</code>.</p>
        </form>
      </main>
    </>
  );
}

/** The address that led here; never one of another site. */
function wanted(): string {
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return next.origin === location.origin && next.pathname !== "/signin" ? next.href : "/";
}

render(<SignInPage />, document.getElementById("page")!);
