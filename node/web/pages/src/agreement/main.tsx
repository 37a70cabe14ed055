/** How well experts and model agree: kappa by class and month. */

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { getJson, type CellClass } from "../shared/api";
import { codeOf } from "../shared/classes";
import { capital, count, percent } from "../shared/format";
import { Frame } from "../shared/Frame";
import { Refusal } from "../shared/Refusal";
import { Swatch } from "../shared/Swatch";

interface Agreed {
  n: number;
  agree: number;
  /** None where chance alone would always agree. */
  kappa: number | null;
}

interface Month extends Agreed {
  /** Such as 2026-10; empty for all months together. */
  month: string;
  classes: (Agreed & { name: string })[];
}

interface Answer {
  blind: Month[];
  all: Month[];
}

const LATEST = 6; // months with a column; the line shows all of them
const CHOICES: [keyof Answer, string][] = [["blind", "Blind choices"], ["all", "All choices"]];

function AgreementPage() {
  const [answer, setAnswer] = useState<Answer>();
  const [classes, setClasses] = useState<CellClass[]>([]);
  const [error, setError] = useState<Error>();
  const [chosen, setChosen] = useState<keyof Answer>("blind");
  useEffect(() => {
    getJson<Answer>("/api/agreement").then(setAnswer, setError);
    getJson<CellClass[]>("/api/classes").then(setClasses, setError);
  }, []);
  return (
    <Frame>
      <div class="tools">
        <h1>Agreement of experts and model</h1>
        <div class="segments" role="group" aria-label="Which choices">
          {CHOICES.map(([name, title]) => (
            <button key={name} type="button" aria-pressed={chosen === name} onClick={() => setChosen(name)}>{title}</button>
          ))}
        </div>
      </div>
      <p class="about muted">
        {chosen === "blind"
          ? "Cells whose class an expert chose while the model's was hidden: they say how good the model is. The site sets their share, review.blind_share."
          : "Every cell that an expert judged, most of them because the model was unsure: they agree less often than the rest."}
        {" "}Kappa is the agreement beyond chance: 1 is perfect, 0 is chance. A dash stands for too little to tell.
      </p>
      {error && <Refusal error={error} />}
      {answer && <Months months={answer[chosen]} classes={classes} />}
    </Frame>
  );
}

function Months({ months, classes }: { months: Month[]; classes: CellClass[] }) {
  const [together, ...each] = months;
  if (!together?.n) return <p class="card empty">No choice yet. Review the cells of a case, and it is counted here.</p>;
  const latest = each.slice(-LATEST);
  const of = (month: Month, name: string): Agreed | undefined => month.classes.find((one) => one.name === name);
  return (
    <div class="card agreement">
      <table>
        <caption class="unseen">Cells, agreement and kappa of each class, together and by month</caption>
        <thead>
          <tr>
            <th scope="col">Class</th>
            <th scope="col" class="right">Cells</th>
            <th scope="col" class="right">Agreed, %</th>
            <th scope="col" class="right">Kappa</th>
            <th scope="col"><span class="unseen">Kappa over the months</span></th>
            {latest.map(({ month }) => <th key={month} scope="col" class="right number">{month}</th>)}
          </tr>
        </thead>
        <tbody>
          <tr class="together">
            <th scope="row">All classes</th>
            <Figures of={together} line={each} months={latest} />
          </tr>
          {classes.filter((one) => of(together, one.name)).map((one) => (
            <tr key={one.name}>
              <th scope="row"><Swatch of={one} /><span class="code">{codeOf(one.name)}</span> {capital(one.name)}</th>
              <Figures of={of(together, one.name)!} line={each.map((month) => of(month, one.name))} months={latest.map((month) => of(month, one.name))} />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Figures({ of, line, months }: { of: Agreed; line: (Agreed | undefined)[]; months: (Agreed | undefined)[] }) {
  return (
    <>
      <td class="right number">{count(of.n)}</td>
      <td class="right number">{percent((100 * of.agree) / of.n)}</td>
      <td class="right number kappa">{kappa(of)}</td>
      <td><Line points={line.map((month) => month?.kappa ?? null)} /></td>
      {months.map((month, place) => <td key={place} class="right number muted" title={month && `${count(month.agree)} of ${count(month.n)} cells`}>{kappa(month)}</td>)}
    </>
  );
}

const kappa = (of: Agreed | undefined): string => (of?.kappa == null ? "–" : of.kappa.toFixed(2));

/** Kappa from 0 (below) to 1 (above), a point for each month; the figures beside it say the same. */
function Line({ points }: { points: (number | null)[] }) {
  const [width, height] = [120, 20];
  const x = (place: number) => (points.length > 1 ? 4 + (place / (points.length - 1)) * (width - 8) : width / 2);
  const y = (value: number) => 3 + (1 - Math.max(0, value)) * (height - 6);
  const known = points.flatMap((value, place) => (value === null ? [] : [[x(place), y(value)] as const]));
  return (
    <svg class="line" viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
      <line class="grid-line" x1="0" x2={width} y1={y(1)} y2={y(1)} />
      <line class="grid-line" x1="0" x2={width} y1={y(0)} y2={y(0)} />
      <polyline points={known.map((point) => point.join(",")).join(" ")} />
      {known.map(([across, down]) => <circle key={across} cx={across} cy={down} r="2" />)}
    </svg>
  );
}

render(<AgreementPage />, document.getElementById("page")!);
