// What a shipped dashboard must be: Grafana's own types, made strict where those are loose.
//
//   Board   a dashboard whose panels are of the kinds we use, each with the options of its kind
//   Json    a type as JSON writes it: the values of an enumeration instead of its members
//
// Grafana types the options and the queries of a panel as "anything". Here a panel's `type`
// decides which options it may have, and a query is one of Prometheus.

import type { Dashboard, GraphFieldConfig, Panel, RowPanel, TableFieldOptions } from "@grafana/schema";
import type { Options as BarGauge } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type {
  FieldConfig as HeatmapField,
  Options as Heatmap,
} from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as Table } from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type { Options as TimeSeries } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

export type Json<T> = T extends string
  ? `${T}`
  : T extends Array<infer Item>
    ? Array<Json<Item>>
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

interface Source {
  type: "prometheus";
  uid: "${datasource}";
}

interface Query {
  refId: string;
  datasource: Source;
  expr: string;
  legendFormat?: string;
  format?: "time_series" | "table" | "heatmap";
  instant?: true;
  range?: true;
  exemplar?: true;
}

type Kind<Type extends string, Options, Custom> = Omit<
  Json<Panel>,
  "type" | "options" | "targets" | "fieldConfig" | "datasource"
> & {
  type: Type;
  options: Json<Options>;
  targets: Query[];
  datasource: Source;
  fieldConfig: {
    defaults: Omit<Json<NonNullable<Panel["fieldConfig"]>["defaults"]>, "custom"> & {
      custom?: Json<Custom>;
    };
    overrides: Json<NonNullable<Panel["fieldConfig"]>["overrides"]>;
  };
};

type AnyPanel =
  | Kind<"stat", Stat, never>
  | Kind<"table", Table, Partial<TableFieldOptions>>
  | Kind<"timeseries", TimeSeries, GraphFieldConfig>
  | Kind<"bargauge", BarGauge, never>
  | Kind<"heatmap", Heatmap, HeatmapField>
  | Json<RowPanel>;

export type Board = Omit<Json<Dashboard>, "panels"> & { panels: AnyPanel[] };
