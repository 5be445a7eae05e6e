// A small SQL tokenizer, written from PostgreSQL's documentation ("Lexical Structure") and not from
// the quoting that it judges: what the server would see in a text.
//
// Escape strings (E'…'), dollar quotes and comments are tokens of their own kind: nothing that
// Millrace writes may turn into one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::fuzz {

struct Token {
  enum class Kind { word, identifier, literal, parameter, number, sign, strange };
  Kind kind = Kind::sign;
  std::string text;  // without quotes, as the server takes it
  bool operator==(const Token&) const = default;
};

inline std::vector<Token> sql_tokens(std::string_view sql) {
  std::vector<Token> out;
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c < 0;
  };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0;
  // From the quote at i to the one that ends it; doubled quotes stand for one.
  const auto quoted = [&](char quote, Token::Kind kind) {
    Token token{kind, {}};
    for (++i;; ++i) {
      if (i == sql.size()) {
        token.kind = Token::Kind::strange;  // unterminated
        break;
      }
      if (sql[i] == quote) {
        if (i + 1 == sql.size() || sql[i + 1] != quote) break;
        ++i;
      }
      token.text.push_back(sql[i]);
    }
    if (i < sql.size()) ++i;
    out.push_back(std::move(token));
  };
  while (i < sql.size()) {
    const char c = sql[i];
    const char next = i + 1 < sql.size() ? sql[i + 1] : '\0';
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
      ++i;
    } else if (c == '"') {
      quoted('"', Token::Kind::identifier);
    } else if (c == '\'') {
      quoted('\'', Token::Kind::literal);
    } else if ((c == '-' && next == '-') || (c == '/' && next == '*') || c == '\\' || c == '\0') {
      out.push_back({Token::Kind::strange, std::string(sql.substr(i))});
      return out;
    } else if (is_letter(c)) {
      Token token{Token::Kind::word, {}};
      while (i < sql.size() && (is_letter(sql[i]) || is_digit(sql[i]) || sql[i] == '$')) {
        token.text.push_back(sql[i++]);
      }
      // E'…', U&"…" and their like.
      if (i < sql.size() && (sql[i] == '\'' || sql[i] == '"' || sql[i] == '&')) {
        token.kind = Token::Kind::strange;
      }
      out.push_back(std::move(token));
    } else if (is_digit(c)) {
      Token token{Token::Kind::number, {}};
      while (i < sql.size() && is_digit(sql[i])) token.text.push_back(sql[i++]);
      out.push_back(std::move(token));
    } else if (c == '$') {
      Token token{is_digit(next) ? Token::Kind::parameter : Token::Kind::strange, {}};
      for (++i; i < sql.size() && is_digit(sql[i]); ++i) token.text.push_back(sql[i]);
      out.push_back(std::move(token));
    } else {
      out.push_back({Token::Kind::sign, std::string(1, c)});
      ++i;
    }
  }
  return out;
}

}  // namespace millrace::fuzz
