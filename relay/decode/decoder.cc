#include "relay/decode/decoder.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace millrace::decode {
namespace {

// Types below this OID are the same on every server and are not described by the stream.
constexpr uint32_t kFirstDescribedTypeOid = 10000;  // FirstGenbkiObjectId

constexpr std::string_view kIdentityHint =
    "give the table, and each of its partitions, the same REPLICA IDENTITY with a primary key or a "
    "unique index on columns that are NOT NULL";

tl::unexpected<Error> corrupt(char letter, const std::string& what) {
  return fail(ErrorCode::corruption, fmt::format("pgoutput {}: {}", message_name(letter), what));
}

Error keyless(const TableSchema& table, std::string_view what) {
  return Error(ErrorCode::bad_data, fmt::format("table {}: {}", display_name(table), what),
               std::string(kIdentityHint));
}

}  // namespace

Status Decoder::decode(std::string_view message, Handler& handler) {
  if (message.empty()) {
    return fail(ErrorCode::corruption, "pgoutput: expected a message, found no bytes");
  }
  sequence_ = ++received_;
  if (block_xid_ != 0) return in_block(message);
  return decode_one(message, handler);
}

Status Decoder::decode_one(std::string_view message, Handler& handler) {
  switch (message.front()) {
    case 'I':
      return on_insert(message, handler);
    case 'U':
      return on_update(message, handler);
    case 'D':
      return on_delete(message, handler);
    case 'B':
      return on_begin(message, handler);
    case 'C':
      return on_commit(message, handler);
    case 'R':
      return on_relation(message);
    case 'Y':
      return on_type(message);
    case 'T':
      return on_truncate(message, handler);
    case 'M':
      return on_message(message, handler);
    case 'O': {
      TRY(require_transaction('O'));
      Origin origin;
      return parse_origin(message, origin);
    }
    case 'S':
    case 'E':
    case 'c':
    case 'A':
      return between_blocks(message, handler);
    case 'b':
    case 'P':
    case 'K':
    case 'r':
    case 'p':
      return fail(ErrorCode::fatal,
                  fmt::format("pgoutput {}: a message of two-phase commit, which was not asked for",
                              message_name(message.front())),
                  "report this with the server's version");
    default:
      return fail(ErrorCode::corruption,
                  fmt::format("pgoutput: expected a message letter, found byte 0x{:02X}",
                              static_cast<uint8_t>(message.front())));
  }
}

Status Decoder::begin_transaction(const Begin& begin, char letter, Handler& handler) {
  if (in_transaction_) {
    return corrupt(letter, fmt::format("expected the Commit of {} first", to_string(commit_lsn_)));
  }
  if (!begin.commit_lsn) return corrupt(letter, "expected a commit LSN, found 0/0");
  in_transaction_ = true;
  commit_lsn_ = begin.commit_lsn;
  next_ordinal_ = 0;
  return handler.on_begin(begin);
}

Status Decoder::end_transaction(const Commit& commit, char letter, Handler& handler) {
  if (commit.end_lsn <= commit.commit_lsn) {
    return corrupt(letter, fmt::format("expected an end after {}, found {}",
                                       to_string(commit.commit_lsn), to_string(commit.end_lsn)));
  }
  in_transaction_ = false;
  return handler.on_commit(commit);
}

Status Decoder::on_begin(std::string_view message, Handler& handler) {
  Begin begin;
  TRY(parse_begin(message, begin));
  return begin_transaction(begin, 'B', handler);
}

Status Decoder::on_commit(std::string_view message, Handler& handler) {
  Commit commit;
  TRY(parse_commit(message, commit));
  TRY(require_transaction('C'));
  if (commit.commit_lsn != commit_lsn_) {
    return corrupt('C', fmt::format("expected commit LSN {} as its Begin said, found {}",
                                    to_string(commit_lsn_), to_string(commit.commit_lsn)));
  }
  return end_transaction(commit, 'C', handler);
}

Status Decoder::on_type(std::string_view message) {
  TypeName type;
  TRY(parse_type(message, type));
  types_[type.oid] = {std::string(type.schema), std::string(type.name)};
  return {};
}

Result<Column> Decoder::make_column(const RelationColumn& from, const Relation& relation) const {
  Column column;
  column.name = std::string(from.name);
  column.type_oid = from.type_oid;
  column.type_modifier = from.type_modifier;
  column.in_key = from.in_key;
  if (from.type_oid >= kFirstDescribedTypeOid) {
    const auto type = types_.find(from.type_oid);
    if (type == types_.end()) {
      return corrupt('R', fmt::format("expected a Type message for type {} of column {} of {}.{}",
                                      from.type_oid, from.name, relation.schema, relation.name));
    }
    column.type_schema = type->second.first;
    column.type_name = type->second.second;
  }
  return column;
}

Status Decoder::apply_primary_key(TableSchema& schema) const {
  for (Column& column : schema.columns) column.in_key = false;
  if (!options_.primary_key) return {};
  TRY_ASSIGN(const std::vector<std::string> key, options_.primary_key(schema.schema, schema.name));
  for (const std::string& name : key) {
    const auto column = std::find_if(schema.columns.begin(), schema.columns.end(),
                                     [&name](const Column& c) { return c.name == name; });
    if (column == schema.columns.end()) {
      return fail(ErrorCode::bad_data,
                  fmt::format("table {}: its primary key's column {} is not in the stream",
                              display_name(schema), quote_if_needed(name)),
                  "publish every column of the key; after a key was altered, synchronise the table "
                  "again");
    }
    column->in_key = true;
  }
  return {};
}

Status Decoder::on_relation(std::string_view message) {
  TRY(parse_relation(message, relation_));
  TableSchema schema;
  schema.relation_oid = relation_.oid;
  schema.schema = std::string(relation_.schema);
  schema.name = std::string(relation_.name);
  schema.identity = relation_.identity;
  schema.columns.reserve(relation_.columns.size());
  for (const RelationColumn& from : relation_.columns) {
    TRY_ASSIGN(Column column, make_column(from, relation_));
    schema.columns.push_back(std::move(column));
  }
  if (schema.identity == ReplicaIdentity::full) TRY(apply_primary_key(schema));

  Table table;
  table.schema = seal_schema(std::move(schema));
  for (size_t i = 0; i < table.schema->columns.size(); ++i) {
    if (table.schema->columns[i].in_key) table.key.push_back(static_cast<uint32_t>(i));
  }
  table.described_at = sequence_;
  last_table_ = nullptr;
  Table& slot = (replaying_ ? described_ : tables_)[relation_.oid];
  if (replaying_ && !slot.schema) {
    const auto known = tables_.find(relation_.oid);
    if (known != tables_.end()) slot = known->second;
  }
  // Whoever holds the old pointer of an unchanged table keeps a pointer that compares equal.
  if (slot.schema && slot.schema->fingerprint == table.schema->fingerprint) {
    slot.described_at = sequence_;
    return {};
  }
  slot = std::move(table);
  return {};
}

Status Decoder::require_transaction(char letter) const {
  if (in_transaction_) return {};
  return corrupt(letter, "expected a Begin before it");
}

Result<const Decoder::Table*> Decoder::find_table(uint32_t oid, char letter) {
  if (last_table_ != nullptr && last_oid_ == oid) return last_table_;
  // A streamed transaction describes every table that it changes, whoever described it before.
  const Tables& tables = replaying_ ? described_ : tables_;
  const auto found = tables.find(oid);
  if (found == tables.end()) {
    return corrupt(letter, fmt::format("expected a Relation message for table OID {} first", oid));
  }
  last_oid_ = oid;
  last_table_ = &found->second;
  return last_table_;
}

Status Decoder::require_width(const Table& table, const std::vector<Value>& row,
                              char letter) const {
  const size_t wanted = table.schema->columns.size();
  if (row.size() == wanted) [[likely]]
    return {};
  return corrupt(letter, fmt::format("table {}: expected {} columns as its Relation said, found {}",
                                     display_name(*table.schema), wanted, row.size()));
}

// A key of which a part is missing can not name a row. It happens when a partition's replica
// identity is not its root's.
Status Decoder::require_key(const Table& table, const std::vector<Value>& row, char letter) const {
  for (const uint32_t i : table.key) {
    if (row[i].kind == ValueKind::text) [[likely]]
      continue;
    return fail(
        keyless(*table.schema,
                fmt::format("{} at {} does not carry key column {}", message_name(letter),
                            to_string(Position{options_.timeline, commit_lsn_, next_ordinal_}),
                            quote_if_needed(table.schema->columns[i].name))));
  }
  return {};
}

// The old row knows values that the new one left in TOAST: with FULL all, otherwise those of the
// key.
void Decoder::fill_unchanged(const Table& table) {
  if (row_.old_kind == OldTuple::full) {
    for (size_t i = 0; i < row_.new_row.size(); ++i) {
      if (row_.new_row[i].kind == ValueKind::unchanged) row_.new_row[i] = row_.old_row[i];
    }
  } else if (row_.old_kind == OldTuple::key) {
    for (const uint32_t i : table.key) {
      if (row_.new_row[i].kind == ValueKind::unchanged) row_.new_row[i] = row_.old_row[i];
    }
  }
}

Row Decoder::key_only(const Table& table) {
  before_.assign(row_.old_row.size(), Value{});
  for (const uint32_t i : table.key) before_[i] = row_.old_row[i];
  return before_;
}

// `before` of a table without a key: the whole row, or nothing could find it.
Status Decoder::settle_old_row(const Table& table, Change& change) {
  const char letter = change.op == Op::update ? 'U' : 'D';
  if (row_.old_kind != OldTuple::full) {
    return fail(keyless(
        *table.schema,
        fmt::format("{} at {} carries neither a key nor the whole old row", message_name(letter),
                    to_string(Position{options_.timeline, commit_lsn_, next_ordinal_}))));
  }
  for (const Value& value : row_.old_row) {
    if (value.kind == ValueKind::unchanged) {
      return corrupt(letter, fmt::format("table {}: expected every value in the old row",
                                         display_name(*table.schema)));
    }
  }
  change.before = row_.old_row;
  return {};
}

Status Decoder::emit(Change& change, const Table& table, Handler& handler) {
  if (next_ordinal_ == std::numeric_limits<uint32_t>::max()) [[unlikely]] {
    return fail(ErrorCode::fatal,
                fmt::format("the transaction of {} has more than 4294967294 changes",
                            to_string(commit_lsn_)));
  }
  change.table = table.schema.get();
  change.position = {options_.timeline, commit_lsn_, next_ordinal_++};
  return handler.on_change(change, table.schema);
}

Status Decoder::on_insert(std::string_view message, Handler& handler) {
  TRY(parse_insert(message, row_));
  TRY(require_transaction('I'));
  TRY_ASSIGN(const Table* table, find_table(row_.oid, 'I'));
  TRY(require_width(*table, row_.new_row, 'I'));
  TRY(require_key(*table, row_.new_row, 'I'));
  Change change;
  change.op = Op::insert;
  change.after = row_.new_row;
  return emit(change, *table, handler);
}

Status Decoder::on_update(std::string_view message, Handler& handler) {
  TRY(parse_update(message, row_));
  TRY(require_transaction('U'));
  TRY_ASSIGN(const Table* table, find_table(row_.oid, 'U'));
  TRY(require_width(*table, row_.new_row, 'U'));
  if (row_.old_kind != OldTuple::none) {
    TRY(require_width(*table, row_.old_row, 'U'));
    fill_unchanged(*table);
  }
  Change change;
  change.op = Op::update;
  if (table->key.empty()) {
    TRY(settle_old_row(*table, change));
  } else {
    TRY(require_key(*table, row_.new_row, 'U'));
    if (row_.old_kind != OldTuple::none) {
      TRY(require_key(*table, row_.old_row, 'U'));
      // A key tuple also comes with a toasted key that did not change, and always with FULL.
      const bool moved = std::any_of(table->key.begin(), table->key.end(), [this](uint32_t i) {
        return row_.old_row[i] != row_.new_row[i];
      });
      if (moved) change.before = key_only(*table);
    }
  }
  change.after = row_.new_row;
  return emit(change, *table, handler);
}

Status Decoder::on_delete(std::string_view message, Handler& handler) {
  TRY(parse_delete(message, row_));
  TRY(require_transaction('D'));
  TRY_ASSIGN(const Table* table, find_table(row_.oid, 'D'));
  TRY(require_width(*table, row_.old_row, 'D'));
  Change change;
  change.op = Op::remove;
  if (table->key.empty()) {
    TRY(settle_old_row(*table, change));
  } else {
    TRY(require_key(*table, row_.old_row, 'D'));
    change.before = key_only(*table);
  }
  return emit(change, *table, handler);
}

Status Decoder::on_truncate(std::string_view message, Handler& handler) {
  TRY(parse_truncate(message, truncate_));
  TRY(require_transaction('T'));
  truncated_.clear();
  for (const uint32_t oid : truncate_.oids) {
    TRY_ASSIGN(const Table* table, find_table(oid, 'T'));
    truncated_.push_back(table->schema->fingerprint);
  }
  const uint32_t first = next_ordinal_;
  for (const uint32_t oid : truncate_.oids) {
    TRY_ASSIGN(const Table* table, find_table(oid, 'T'));
    Change change;
    change.op = Op::truncate;
    change.truncated = truncated_;
    change.truncate_first = first;
    change.restart_identity = truncate_.restart_identity;
    TRY(emit(change, *table, handler));
  }
  return {};
}

Status Decoder::on_message(std::string_view message, Handler& handler) {
  LogicalMessage logical;
  TRY(parse_message(message, logical));
  if (logical.transactional) TRY(require_transaction('M'));
  return handler.on_message(logical);
}

}  // namespace millrace::decode
