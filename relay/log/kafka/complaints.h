// What brokers complain of, in words that say what to do: no answer, a password or a certificate
// that is not taken, a right that is missing.
//
// Invariant: no password is in them. Threads: any.
#pragma once

#include <string>

#include "relay/log/kafka/client.h"

namespace millrace::log::kafka {

// retryable: "kafka HOST:PORT: topic t: WHY". `error` is librdkafka's code; where that says only
// that nobody answered, WHY is the client's last complaint.
Error retryable(Client& client, const std::string& doing, int error);

// The broker does not let this user do something with the topic (or with all of them).
bool is_denied(int error);
// retryable, for the right comes when it is given: names topic and right ("Read"), and the command.
Error denied(const Client& client, const std::string& topic, const std::string& right);

}  // namespace millrace::log::kafka
