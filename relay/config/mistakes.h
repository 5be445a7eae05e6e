// Mistakes: everything that is wrong with a file, collected so that all of it is told at once.
#pragma once

#include <string>
#include <vector>

#include "relay/base/error.h"

namespace millrace::config {

class Mistakes {
 public:
  explicit Mistakes(std::string file) : file_(std::move(file)) {}

  // `line` counts from 1.
  void add(int line, std::string message);
  bool empty() const { return found_.empty(); }
  // REQUIRES: !empty(). One line each, in the order of the file.
  Error error() const;

 private:
  struct Mistake {
    int line;
    std::string message;
  };
  std::string file_;
  std::vector<Mistake> found_;
};

}  // namespace millrace::config
