// Names and values of any bytes (but NUL, which divides them in the input) in everything that
// writes SQL: the server sees what it would see with harmless names, and these names whole.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connectors/postgres/array_literal.h"
#include "connectors/postgres/statements.h"
#include "relay/event/table_schema.h"
#include "relay/source/publication.h"
#include "relay/source/quoting.h"
#include "tests/fuzz/sql_tokens.h"

namespace {

using namespace millrace;
using fuzz::sql_tokens;
using fuzz::Token;
using Names = std::vector<std::string>;

constexpr size_t kNames = 6;

void require(bool holds) {
  if (!holds) std::abort();
}

// The names of the input, and harmless ones in the same number.
const Names& harmless() {
  static const Names names{"zq0", "zq1", "zq2", "zq3", "zq4", "zq5"};
  return names;
}

// `write` with hostile names gives the tokens that it gives with harmless ones, but for the names.
template <typename Write>
void require_same_shape(const Names& names, const Write& write) {
  auto expected = sql_tokens(write(harmless()));
  for (Token& token : expected) {
    require(token.kind != Token::Kind::strange);
    for (size_t i = 0; i < kNames; ++i) {
      if (token.text == harmless()[i]) token.text = names[i];
    }
  }
  require(sql_tokens(write(names)) == expected);
}

void check_names(const Names& names) {
  for (const std::string& name : names) {
    const Token identifier{Token::Kind::identifier, name};
    require(sql_tokens(quote_identifier(name)) == std::vector{identifier});
    const auto shown = sql_tokens(quote_if_needed(name));
    require(shown == std::vector{identifier} ||
            shown == std::vector{Token{Token::Kind::word, name}});
    require(sql_tokens(source::quote_replication_literal(name)) ==
            std::vector{Token{Token::Kind::literal, name}});
  }
}

void check_replication(const Names& names) {
  for (const int version : {130000, 150000, 170000}) {
    require_same_shape(
        names, [&](const Names& n) { return source::create_slot_command(version, n[0], false); });
    const auto tokens =
        sql_tokens(source::start_command(version, names[0], names[1], Lsn{0x16B3748}));
    const auto same = sql_tokens(source::start_command(version, "a", "b", Lsn{0x16B3748}));
    require(tokens.size() == same.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (same[i].text == "a") {
        require(tokens[i] == Token{Token::Kind::identifier, names[0]});
      } else if (same[i].text == "\"b\"") {  // a list of identifiers in a literal
        require(tokens[i].kind == Token::Kind::literal);
        require(sql_tokens(tokens[i].text) ==
                std::vector{Token{Token::Kind::identifier, names[1]}});
      } else {
        require(tokens[i] == same[i]);
      }
    }
  }
}

void check_publication(const Names& names) {
  const auto tables = [](const Names& n) {
    return std::vector<source::TableName>{{n[1], n[2]}, {n[3], n[4]}};
  };
  require_same_shape(
      names, [&](const Names& n) { return source::create_publication_sql(n[0], tables(n)); });
  require_same_shape(names, [](const Names& n) { return source::drop_publication_sql(n[0]); });
  require_same_shape(names, [](const Names& n) {
    source::Publication publication;
    publication.name = n[0];
    const std::vector<source::TableName> added{{n[1], n[2]}};
    std::string all;
    for (const auto& sql : alter_publication_sql(publication, added, true)) all += sql + ";";
    publication.listed = {{n[3], n[4]}};
    for (const auto& sql : alter_publication_sql(publication, {}, true)) all += sql + ";";
    return all;
  });
}

postgres::Binding binding_of(const Names& names) {
  postgres::Binding binding;
  binding.mapping.target_schema = names[0];
  binding.mapping.target_table = names[1];
  binding.mapping.where = "true";
  binding.keyed = true;
  for (size_t i = 2; i < kNames; ++i) {
    const bool key = i < 4;
    const bool plain = i % 2 == 0;
    binding.source.columns.push_back({names[i], plain ? 20U : 99999U, -1, "", "", key});
    postgres::Output output;
    output.column = names[kNames + 1 - i];
    output.source = static_cast<int>(i - 2);
    output.key = key;
    output.base_oid = plain ? 20 : 99999;
    output.base_type = output.full_type = plain ? "bigint" : "public.mood";
    binding.outputs.push_back(std::move(output));
    binding.types.push_back({true, plain ? 20U : 99999U, "bigint", "bigint"});
  }
  binding.used_by_sql.assign(kNames - 2, true);
  binding.where_needs.assign(kNames - 2, true);
  return binding;
}

void check_statements(const Names& names) {
  const postgres::Present some{true, true, true, false};
  const auto all_of = [](const postgres::RowStatements& statements) {
    return (statements.filter ? statements.filter->sql + ";" : "") + statements.write.sql + ";" +
           (statements.missing ? statements.missing->sql : "");
  };
  require_same_shape(names, [&](const Names& n) {
    postgres::Binding binding = binding_of(n);
    std::string sql = all_of(postgres::upsert_statements(binding));
    sql += all_of(postgres::remove_statements(binding)) + all_of(append_statements(binding));
    sql += remove_whole_statement(binding).sql + ";" + replace_whole_statement(binding).sql + ";";
    sql += passes_statement(binding).sql + ";" + null_row_sql(binding, 1);
    binding.where_needs.assign(kNames - 2, false);
    for (const auto& made : {partial_statements(binding, some), move_statements(binding, some)}) {
      require(made.has_value());
      sql += all_of(*made);
    }
    return sql;
  });
}

// Array text as PostgreSQL's array_in takes it; nullopt: it would be refused.
std::optional<std::vector<std::optional<std::string>>> parse_array(std::string_view text) {
  std::vector<std::optional<std::string>> out;
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return std::nullopt;
  const std::string_view in = text.substr(1, text.size() - 2);
  if (in.empty()) return out;
  for (size_t i = 0;; ++i) {
    std::string value;
    const bool quoted = i < in.size() && in[i] == '"';
    if (quoted) {
      for (++i; i < in.size() && in[i] != '"'; ++i) {
        if (in[i] == '\\' && ++i == in.size()) return std::nullopt;
        value.push_back(in[i]);
      }
      if (i++ >= in.size()) return std::nullopt;
    } else {
      for (; i < in.size() && in[i] != ','; ++i) {
        if (std::string_view("{}\"\\ \t\n\r\v\f").find(in[i]) != std::string_view::npos) {
          return std::nullopt;
        }
        value.push_back(in[i]);
      }
      if (value.empty()) return std::nullopt;
    }
    if (!quoted && value == "NULL") {
      out.emplace_back(std::nullopt);
    } else {
      out.emplace_back(std::move(value));
    }
    if (i == in.size()) return out;
    if (in[i] != ',') return std::nullopt;
  }
}

void check_array(const Names& values) {
  postgres::ArrayLiteral array;
  std::vector<std::optional<std::string>> expected;
  array.clear();
  for (const std::string& value : values) {
    if (value.size() % 5 == 4) {
      array.add_null();
      expected.emplace_back(std::nullopt);
    }
    require(array.add(value));
    expected.emplace_back(value);
  }
  require(parse_array(array.finish()) == expected);
}

bool glob_matches(std::string_view glob, std::string_view text) {
  if (glob.empty()) return text.empty();
  if (glob[0] == '*') {
    return glob_matches(glob.substr(1), text) ||
           (!text.empty() && glob_matches(glob, text.substr(1)));
  }
  return !text.empty() && (glob[0] == '?' || glob[0] == text[0]) &&
         glob_matches(glob.substr(1), text.substr(1));
}

bool like_matches(std::string_view like, std::string_view text) {
  if (like.empty()) return text.empty();
  if (like[0] == '%') {
    return like_matches(like.substr(1), text) ||
           (!text.empty() && like_matches(like, text.substr(1)));
  }
  if (text.empty()) return false;
  if (like[0] == '_') return like_matches(like.substr(1), text.substr(1));
  if (like[0] == '\\') {
    require(like.size() > 1);  // LIKE refuses a pattern that ends with its escape
    like.remove_prefix(1);
  }
  return like[0] == text[0] && like_matches(like.substr(1), text.substr(1));
}

void check_glob(std::string_view glob, std::string_view text) {
  glob = glob.substr(0, 6);  // the matchers below take exponential time
  text = text.substr(0, 8);
  const std::string like = source::glob_to_like(glob);
  require(glob_matches(glob, text) == like_matches(like, text));
  require(glob_matches(glob, glob) == like_matches(like, glob));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Names names(1);
  for (size_t i = 0; i < size; ++i) {
    if (data[i] != 0) {
      names.back().push_back(static_cast<char>(data[i]));
    } else if (names.size() < kNames) {
      names.emplace_back();
    }
  }
  names.resize(kNames);
  for (const std::string& name : names) {
    if (name.starts_with("zq")) return 0;  // the harmless ones' own
  }
  check_names(names);
  check_replication(names);
  check_publication(names);
  check_statements(names);
  check_array(names);
  check_glob(names[0], names[1]);
  return 0;
}
