// SPDX-License-Identifier: Apache-2.0
import { Breadcrumb, BreadcrumbButton, BreadcrumbDivider, BreadcrumbItem } from "@fluentui/react-components";
import { useRouter } from "@tanstack/react-router";
import { Fragment, type ReactNode, useEffect } from "react";
import css from "./Page.module.css";

export interface Crumb {
  label: string;
  /** Address; absent for the page itself. */
  href?: string;
}

interface Props {
  title: string;
  /** Beside the title, such as a severity. */
  mark?: ReactNode;
  crumbs?: Crumb[];
  actions?: ReactNode;
  /** Under the title, such as tabs. */
  below?: ReactNode;
  /** The content fills the page and scrolls by itself. */
  fill?: boolean;
  children: ReactNode;
}

/** Frame of every page: breadcrumb, title, actions, content. */
export function Page({ title, mark, crumbs, actions, below, fill, children }: Props) {
  useEffect(() => {
    document.title = `${title} - Picket`;
  }, [title]);
  return (
    <div className={`${css.page} ${fill ? css.fill : css.scroll}`}>
      <header className={css.header}>
        {crumbs && <Crumbs crumbs={crumbs} />}
        <div className={css.titleRow}>
          <h1 className={css.title}>{title}</h1>
          {mark}
          <span className={css.spacer} />
          {actions}
        </div>
        {below}
      </header>
      <div className={css.content}>{children}</div>
    </div>
  );
}

function Crumbs({ crumbs }: { crumbs: Crumb[] }) {
  const router = useRouter();
  return (
    <Breadcrumb size="small" aria-label="Breadcrumb" className={css.crumbs}>
      {crumbs.map((c, i) => (
        <Fragment key={`${i}${c.label}`}>
          {i > 0 && <BreadcrumbDivider />}
          <BreadcrumbItem>
            {c.href ? (
              <BreadcrumbButton
                href={c.href}
                onClick={(e) => {
                  if (!e.ctrlKey && !e.metaKey && !e.shiftKey) {
                    e.preventDefault();
                    router.history.push(c.href ?? "/");
                  }
                }}
              >
                {c.label}
              </BreadcrumbButton>
            ) : (
              <BreadcrumbButton current>{c.label}</BreadcrumbButton>
            )}
          </BreadcrumbItem>
        </Fragment>
      ))}
    </Breadcrumb>
  );
}

/** A titled box of a page. */
export function Card({ title, actions, children, flush, className }: { title?: ReactNode; actions?: ReactNode; children: ReactNode; flush?: boolean; className?: string | undefined }) {
  return (
    <section className={`${css.card} ${className ?? ""}`}>
      {title && (
        <div className={css.cardHeader}>
          <h2>{title}</h2>
          {actions}
        </div>
      )}
      <div className={flush ? css.flush : css.cardBody}>{children}</div>
    </section>
  );
}

/** Names and values, such as the facts about a device. */
export function Facts({ items }: { items: [name: string, value: ReactNode][] }) {
  return (
    <dl className={css.facts}>
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === "" || value === null || value === undefined ? <span className="muted">Not known</span> : value}</dd>
        </div>
      ))}
    </dl>
  );
}
