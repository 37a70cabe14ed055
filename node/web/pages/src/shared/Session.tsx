/** Who is signed in, in the bar of every page: signing out, and a new password. */

import { useEffect, useState } from "preact/hooks";
import { getJson, sendJson, signInUrl, type Person } from "./api";
import { Dialog } from "./Dialog";
import { Refusal } from "./Refusal";

let asked: Promise<Person> | undefined; // one question for a page, however many parts want to know

/** Who is signed in; undefined until the node has said so. */
export function usePerson(): Person | undefined {
  const [person, setPerson] = useState<Person>();
  useEffect(() => {
    asked ??= getJson<Person>("/api/session");
    asked.then(setPerson, () => undefined);
  }, []);
  return person;
}

export function Session() {
  const person = usePerson();
  const [changing, setChanging] = useState(false);
  if (!person) return null;
  if (person.demo) {
    return (
      <span class="person">
        <strong class="tag tag-care">{person.full_name}</strong>
        <span class="person-note">a demonstration: nobody has signed in</span>
        <a href={signInUrl()}>Sign in</a>
      </span>
    );
  }
  const signOut = async () => {
    await sendJson("DELETE", "/api/session");
    location.assign("/signin");
  };
  return (
    <span class="person">
      <strong>{person.full_name}</strong>
      <span class="person-note">{person.role}</span>
      <button type="button" class="link" onClick={() => setChanging(true)}>Password</button>
      <button type="button" class="link" onClick={() => void signOut()}>Sign out</button>
      {changing && <PasswordDialog onClose={() => setChanging(false)} />}
    </span>
  );
}

function PasswordDialog({ onClose }: { onClose: () => void }) {
  const [current, setCurrent] = useState("");
  const [wanted, setWanted] = useState("");
  const [error, setError] = useState<Error>();
  const [done, setDone] = useState(false);
  const change = async (event: Event) => {
    event.preventDefault();
    try {
      await sendJson("PUT", "/api/session/password", { current, new: wanted });
      setDone(true);
    } catch (reason) {
      setError(reason as Error);
    }
  };
  if (done) {
    return (
      <Dialog title="Change your password" onClose={onClose}>
        <p role="status">Your password is changed. Where else you were signed in, you no longer are.</p>
        <div class="dialog-actions"><button type="button" onClick={onClose}>Close</button></div>
      </Dialog>
    );
  }
  return (
    <Dialog title="Change your password" onClose={onClose}>
      <form onSubmit={(event) => void change(event)}>
        <label class="field">
          <span>Password now</span>
          <input type="password" autocomplete="current-password" required value={current} onInput={(event) => setCurrent(event.currentTarget.value)} />
        </label>
        <label class="field">
          <span>New password, 12 characters or more</span>
          <input type="password" autocomplete="new-password" required minLength={12} maxLength={256} value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
        </label>
        {error && <Refusal error={error} />}
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Back</button>
          <button type="submit" class="primary">Change it</button>
        </div>
      </form>
    </Dialog>
  );
}
