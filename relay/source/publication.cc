#include "relay/source/publication.h"

#include <algorithm>

#include <fmt/format.h>

#include "relay/event/table_schema.h"

namespace millrace::source {
namespace {

std::string table_list(std::span<const TableName> tables) {
  std::string out;
  for (const TableName& table : tables) {
    if (!out.empty()) out += ", ";
    out += "ONLY " + quoted_name(table);
  }
  return out;
}

bool contains(std::span<const TableName> tables, const TableName& table) {
  return std::find(tables.begin(), tables.end(), table) != tables.end();
}

}  // namespace

std::string display_name(const TableName& table) {
  return quote_if_needed(table.schema) + "." + quote_if_needed(table.name);
}

std::string quoted_name(const TableName& table) {
  return quote_identifier(table.schema) + "." + quote_identifier(table.name);
}

const PublishedTable* Publication::find(const TableName& table) const {
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [&table](const PublishedTable& t) { return t.name == table; });
  return found == tables.end() ? nullptr : &*found;
}

bool Publication::publishes(const TableName& table) const {
  return all_tables || contains(listed, table) || find(table) != nullptr;
}

std::string create_publication_sql(const std::string& name, std::span<const TableName> tables) {
  return fmt::format("CREATE PUBLICATION {}{}{} WITH (publish_via_partition_root = true)",
                     quote_identifier(name), tables.empty() ? "" : " FOR TABLE ",
                     table_list(tables));
}

std::string drop_publication_sql(const std::string& name) {
  return fmt::format("DROP PUBLICATION IF EXISTS {}", quote_identifier(name));
}

std::vector<std::string> alter_publication_sql(const Publication& publication,
                                               std::span<const TableName> tables,
                                               bool remove_others) {
  const std::string alter = "ALTER PUBLICATION " + quote_identifier(publication.name);
  std::vector<std::string> out;
  if (!publication.via_partition_root || !publication.publishes_every_kind()) {
    out.push_back(alter +
                  " SET (publish = 'insert, update, delete, truncate', "
                  "publish_via_partition_root = true)");
  }
  if (publication.all_tables) return out;
  std::vector<TableName> missing;
  for (const TableName& table : tables) {
    if (!publication.publishes(table) && !contains(missing, table)) missing.push_back(table);
  }
  std::vector<TableName> others;
  for (const TableName& table : publication.listed) {
    if (remove_others && !contains(tables, table)) others.push_back(table);
  }
  if (!missing.empty()) out.push_back(alter + " ADD TABLE " + table_list(missing));
  if (!others.empty()) out.push_back(alter + " DROP TABLE " + table_list(others));
  return out;
}

}  // namespace millrace::source
