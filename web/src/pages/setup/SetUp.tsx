// SPDX-License-Identifier: Apache-2.0
import { Button, MessageBar, MessageBarBody, Spinner } from "@fluentui/react-components";
import { CheckmarkCircleFilled, CircleRegular } from "@fluentui/react-icons";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useRouter } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { Live, useLive } from "../../api/live";
import { saveSetup, sessionQuery, setupQuery } from "../../api/queries";
import type { Setup, SetupStep } from "../../api/types";
import { Code } from "../../components/Copy";
import { NewEnrolment } from "../../components/Enrolment";
import { Organisation } from "../../components/Organisation";
import { Time } from "../../components/Time";
import { Failed, LoadingLines } from "../../components/states";
import { Messages } from "../../components/toasts";
import { ConnectionBanner } from "../../shell/ConnectionBanner";
import { Logo } from "../../shell/Logo";
import { useLeaveWhenSignedOut } from "../../shell/leave";
import css from "./SetUp.module.css";

/** The first-run set-up: name and retention, the sensor, the detection test. The last two complete by themselves. */
export function SetUp() {
  const [live] = useState(() => new Live());
  const state = useLive(live);
  useLeaveWhenSignedOut();
  const setup = useQuery({ ...setupQuery, refetchInterval: 10_000 });
  useEffect(() => {
    document.title = "Set up - Picket";
  }, []);
  return (
    <main className={css.page}>
      <ConnectionBanner state={state} />
      <div className={css.column}>
        <header className={css.header}>
          <Logo size={36} />
          <div>
            <h1>Set up Picket</h1>
            <p className="muted">Three steps until the first device is watched. Everything can be changed later under Settings.</p>
          </div>
        </header>
        {setup.isPending && <LoadingLines label="Loading the set-up" />}
        {setup.isError && !setup.data && <Failed what="The set-up" error={setup.error} onRetry={() => void setup.refetch()} />}
        {setup.data && <Steps setup={setup.data} />}
      </div>
      <Messages />
    </main>
  );
}

function Steps({ setup }: { setup: Setup }) {
  const [named, setNamed] = useState(false);
  const client = useQueryClient();
  const router = useRouter();
  const { sensor, detectionTest } = setup.steps;
  const finish = useMutation({
    mutationFn: () => saveSetup({ done: true }),
    onSuccess: async (s) => {
      client.setQueryData(setupQuery.queryKey, s);
      client.setQueryData(sessionQuery.queryKey, (old) => old && { ...old, setupDone: true });
      await router.navigate({ to: "/" });
    },
  });
  const complete = sensor.complete && detectionTest.complete;
  return (
    <>
      <Step number={1} title="Name and retention" state={named ? "Complete" : ""} complete={named}>
        <Organisation setup={setup} action="Save" onSaved={() => setNamed(true)} />
      </Step>
      <Step number={2} testId="setup-sensor" title="Get the sensor" state={sensor.complete ? "Complete" : "Incomplete"} complete={sensor.complete} waiting={!sensor.complete}>
        {sensor.complete && <Reported step={sensor} />}
        <p>Create an enrolment token and run the install command on a Linux host. This step completes when the host reports.</p>
        <NewEnrolment />
      </Step>
      <Step number={3} testId="setup-test" title="Run the detection test" state={detectionTest.complete ? "Complete" : "Incomplete"} complete={detectionTest.complete} waiting={sensor.complete && !detectionTest.complete}>
        {detectionTest.complete && (
          <p>
            The alert arrived at <Time value={detectionTest.at} />
            {detectionTest.deviceName && ` from ${detectionTest.deviceName}`}. {setup.done && <Link to="/alerts/$id" params={{ id: detectionTest.alertId }}>Open the alert</Link>}
          </p>
        )}
        <p>Paste this into a terminal on the host. It is harmless and always raises an alert.</p>
        <Code text={setup.detectionTest.command} label="Copy detection test" />
      </Step>
      <footer className={css.footer}>
        {!complete && <MessageBar layout="multiline"><MessageBarBody>The set-up is not complete. You can open the portal now; it stays empty until a device reports.</MessageBarBody></MessageBar>}
        {finish.isError && <MessageBar intent="error"><MessageBarBody>{finish.error.message}</MessageBarBody></MessageBar>}
        <div>
          <Button size="large" appearance={complete ? "primary" : "secondary"} disabled={finish.isPending} onClick={() => finish.mutate()}>Open the portal</Button>
        </div>
      </footer>
    </>
  );
}

function Reported({ step }: { step: SetupStep }) {
  return <p><strong>{step.deviceName || step.deviceId}</strong> reported at <Time value={step.at} />.</p>;
}

interface StepProps {
  number: number;
  title: string;
  state: string;
  complete: boolean;
  waiting?: boolean;
  testId?: string;
  children: ReactNode;
}

function Step({ number, title, state, complete, waiting, testId, children }: StepProps) {
  return (
    <section className={css.step} aria-labelledby={`step-${number}`} data-testid={testId} data-complete={complete}>
      <div className={css.stepHeader}>
        <span className={`${css.number} ${complete ? css.done : ""}`} aria-hidden>{number}</span>
        <h2 id={`step-${number}`}>{title}</h2>
        <span className={css.stepState} role="status" aria-label={state && `${title}: ${state}`}>
          {complete ? <CheckmarkCircleFilled className={css.good ?? ""} aria-hidden /> : waiting ? <Spinner size="extra-tiny" aria-label="Waiting" /> : state && <CircleRegular aria-hidden />}
          {state}
        </span>
      </div>
      <div className={css.stepBody}>{children}</div>
    </section>
  );
}
