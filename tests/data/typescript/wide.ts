// Services and their messages in JSON. Written by `tidegate typescript`; changes here are lost.

import type * as tidegate from "@tidegate/client";

export const Wide: tidegate.Service<{
  follow: tidegate.ServerStream<Ask, Told>;
}> = {
  name: "wide.v1.Wide",
  methods: {
    follow: { name: "Follow", kind: "server_stream", resume: { reply: "at_cursor.page_number", request: "from_cursor.page_number" } },
  },
};

export interface Ask {
  from_cursor?: Cursor;
}

export interface Cursor {
  page_number?: number | string;
}

export type Kind =
  | "FIRST"
  | number;

export interface Told {
  all_kinds?: Kind[];
  many_numbers?: Array<number | string>;
  by_name?: { [key: string]: number | string };
  at_cursor?: Cursor;
}
