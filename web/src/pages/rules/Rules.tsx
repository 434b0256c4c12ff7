// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { rulesQuery } from "../../api/queries";
import type { Rule } from "../../api/types";
import { Copy } from "../../components/Copy";
import { FilterBar, FilterMany, FilterText } from "../../components/Filter";
import { type Column, Grid } from "../../components/Grid";
import { Facts, Page } from "../../components/Page";
import { Severity } from "../../components/Severity";
import { SidePane } from "../../components/SidePane";
import { Label } from "../../components/Status";
import { Empty, Failed, LoadingRows } from "../../components/states";
import { useSearchState } from "../../components/useSearchState";
import { severities } from "../../components/values";
import { counted, words } from "../../format/number";
import { unwrapped } from "../../format/prose";
import { listOf, listText } from "../../search";
import list from "../list.module.css";
import css from "./Rules.module.css";
import { matchingRules } from "./filter";

const columns: Column<Rule>[] = [
  { id: "title", header: "Rule", width: "minmax(240px, 3fr)", cell: (r) => <span className={list.strong} title={r.title}>{r.title}</span> },
  { id: "severity", header: "Severity", width: "130px", cell: (r) => <Severity value={r.severity} /> },
  { id: "category", header: "Category", width: "minmax(130px, 1fr)", cell: (r) => words(r.category) },
  { id: "techniques", header: "ATT&CK techniques", width: "minmax(160px, 1.5fr)", cell: (r) => <span className={css.labels}>{r.techniques.map((t) => <Label key={t}>{t}</Label>)}</span> },
  { id: "state", header: "State", width: "80px", cell: (r) => (r.enabled ? "On" : <span className="muted">Off</span>) },
];

/** The detection rules that run on every event. */
export function Rules() {
  const [search, change] = useSearchState();
  const rules = useQuery(rulesQuery);
  const rows = useMemo(() => matchingRules(rules.data ?? [], search), [rules.data, search]);
  const shown = rules.data?.find((r) => r.id === search.rule);
  const setText = useCallback((q: string) => change({ q }), [change]);
  const filtered = Boolean(search.q || search.level);
  return (
    <Page title="Detection rules" mark={rules.data && <span className="muted" aria-live="polite">{counted(rows.length, "rule")}</span>} fill>
      <FilterBar>
        <FilterText label="Title, technique or category" value={search.q ?? ""} onChange={setText} />
        <FilterMany label="Severity" options={severities.map((s) => ({ value: s, label: s }))} values={listOf(search.level, severities)} onChange={(v) => change({ level: listText(v) })} />
        {filtered && <Button size="small" appearance="subtle" onClick={() => change({ q: undefined, level: undefined })}>Remove all filters</Button>}
      </FilterBar>
      <div className={list.split}>
        <div className={list.panel}>
          {rules.isPending && <LoadingRows label="Loading rules" />}
          {rules.isError && !rules.data && <Failed what="The rules" error={rules.error} onRetry={() => void rules.refetch()} />}
          {rules.data && rows.length === 0 && (filtered ? <Empty title="No rule matches" actions={<Button onClick={() => change({ q: undefined, level: undefined })}>Remove all filters</Button>} /> : <Empty title="No rules are loaded" />)}
          {rows.length > 0 && <Grid label="Detection rules" columns={columns} rows={rows} rowKey={(r) => r.id} current={search.rule} onOpen={(r) => change({ rule: r.id })} />}
        </div>
        {shown && <RulePane rule={shown} onClose={() => change({ rule: undefined })} />}
      </div>
    </Page>
  );
}

function RulePane({ rule, onClose }: { rule: Rule; onClose: () => void }) {
  return (
    <SidePane key={rule.id} title={rule.title} onClose={onClose} takeFocus>
      <p className={css.prose}>{unwrapped(rule.description) || "The rule has no description."}</p>
      <Facts
        items={[
          ["Severity", <Severity key="s" value={rule.severity} />],
          ["Category", words(rule.category)],
          ["State", rule.enabled ? "On" : "Off"],
          ["Techniques", <span key="t" className={css.labels}>{rule.techniques.map((t) => <Label key={t}>{t}</Label>)}</span>],
          ["Author", rule.author],
          ["Rule id", <span key="i" className={css.id}><code>{rule.id}</code><Copy text={rule.id} label="Copy rule id" /></span>],
        ]}
      />
      <Link to="/alerts" search={{ q: rule.id, period: "180d", status: "New,InProgress,Resolved" }}>Alerts of this rule</Link>
    </SidePane>
  );
}
