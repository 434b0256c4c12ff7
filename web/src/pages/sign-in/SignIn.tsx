// SPDX-License-Identifier: Apache-2.0
import { Button, Field, Input, MessageBar, MessageBarBody, Spinner } from "@fluentui/react-components";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { sessionQuery, signIn } from "../../api/queries";
import { Logo } from "../../shell/Logo";
import css from "./SignIn.module.css";
import { safeTarget } from "./target";

const route = getRouteApi("/sign-in");

export function SignIn() {
  const { to } = route.useSearch();
  const router = useRouter();
  const client = useQueryClient();
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const attempt = useMutation({
    mutationFn: () => signIn(user.trim().toLowerCase(), password),
    onSuccess: (session) => {
      client.clear();
      client.setQueryData(sessionQuery.queryKey, session);
      router.history.replace(safeTarget(to));
    },
  });
  useEffect(() => {
    document.title = "Sign in - Picket";
  }, []);
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (user.trim() !== "" && password !== "") {
      attempt.mutate();
    }
  };
  return (
    <main className={css.page}>
      <div className={css.box}>
        <div className={css.brand}>
          <Logo size={36} />
          <h1>Sign in to Picket</h1>
        </div>
        {attempt.isError && (
          <MessageBar intent="error" role="alert" layout="multiline">
            <MessageBarBody>{attempt.error.message}</MessageBarBody>
          </MessageBar>
        )}
        <form onSubmit={submit} className={css.form}>
          <Field label="User name">
            <Input name="user" size="large" autoComplete="username" autoCapitalize="none" spellCheck={false} autoFocus value={user} onChange={(_, d) => setUser(d.value)} />
          </Field>
          <Field label="Password">
            <Input name="password" size="large" type="password" autoComplete="current-password" value={password} onChange={(_, d) => setPassword(d.value)} />
          </Field>
          <Button type="submit" appearance="primary" size="large" disabledFocusable={attempt.isPending} icon={attempt.isPending ? <Spinner size="tiny" /> : undefined}>
            Sign in
          </Button>
        </form>
      </div>
    </main>
  );
}
