// Fiber: a piece of code with a stack of its own, which runs only while somebody resumes it.
//
// So the relay's own loops take turns on one thread, in an order that a seed decides. Exceptions
// may pass through a fiber's frames, but must not leave its body; nothing may yield while one is on
// its way.
#pragma once

#include <functional>
#include <memory>

namespace millrace::sim {

class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  ~Fiber();  // REQUIRES: finished
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body until it yields or ends. Not from inside a fiber.
  void resume();
  // From inside the body: back to whoever resumed it.
  void yield();
  bool finished() const;

 private:
  struct Context;
  static void enter(unsigned high, unsigned low);
  std::unique_ptr<Context> context_;
};

}  // namespace millrace::sim
