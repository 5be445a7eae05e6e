// Publication: what a publication holds, and the SQL that makes it hold what a pipeline needs.
//
// Tables are added with ONLY: children of classical inheritance are other tables. Partitions come
// through their root (publish_via_partition_root), those that are created later included.
#pragma once

#include <compare>
#include <span>
#include <string>
#include <vector>

namespace millrace::source {

struct TableName {
  std::string schema;
  std::string name;
  auto operator<=>(const TableName&) const = default;
};

std::string display_name(const TableName& table);  // quoted where SQL needs it
std::string quoted_name(const TableName& table);   // always quoted

struct PublishedTable {
  TableName name;
  std::string row_filter;            // SQL; empty: every row
  std::vector<std::string> columns;  // published ones; empty where the server can not restrict them
};

struct Publication {
  std::string name;
  bool all_tables = false;
  bool inserts = false;
  bool updates = false;
  bool deletes = false;
  bool truncates = false;
  bool via_partition_root = false;
  bool is_ours = false;                // the role may alter it
  std::vector<PublishedTable> tables;  // as the stream names them
  std::vector<TableName> listed;  // named one by one; empty for ALL TABLES and TABLES IN SCHEMA

  bool publishes_every_kind() const { return inserts && updates && deletes && truncates; }
  const PublishedTable* find(const TableName& table) const;
  // By name, or through what it names.
  bool publishes(const TableName& table) const;
};

std::string create_publication_sql(const std::string& name, std::span<const TableName> tables);
std::string drop_publication_sql(const std::string& name);
// What is missing for `tables` to be published whole, each a statement; empty when all is well.
// Tables that are not asked for stay, unless `remove_others`.
std::vector<std::string> alter_publication_sql(const Publication& publication,
                                               std::span<const TableName> tables,
                                               bool remove_others);

}  // namespace millrace::source
