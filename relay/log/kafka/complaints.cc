#include "relay/log/kafka/complaints.h"

#include <string_view>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

namespace millrace::log::kafka {
namespace {

std::string hint_for(std::string_view trouble) {
  const auto says = [trouble](std::string_view word) {
    return trouble.find(word) != std::string_view::npos;
  };
  if (says("certificate verify failed")) {
    return "ssl.ca.location in log.kafka must be the authority that signed the broker's "
           "certificate, "
           "and the certificate must name the host as log.brokers and the broker's "
           "advertised.listeners do";
  }
  if (says("SASL")) return "see sasl.mechanism, sasl.username and sasl.password in log.kafka";
  if (says("ApiVersion") || says("SSL"))
    return "see security.protocol in log.kafka: is the port one of TLS, of SASL, of both?";
  return {};
}

}  // namespace

Error retryable(Client& client, const std::string& doing, int error) {
  const bool silent = error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
                      error == RD_KAFKA_RESP_ERR__TRANSPORT ||
                      error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
  const std::string why = silent ? client.trouble() : error_text(error);
  return Error(ErrorCode::retryable,
               fmt::format("kafka {}: {}: {}", client.options().brokers, doing, why),
               silent ? hint_for(why) : std::string());
}

bool is_denied(int error) {
  return error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
         error == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
}

Error denied(const Client& client, const std::string& topic, const std::string& right) {
  const auto& settings = client.options().passthrough;
  const auto user = settings.find("sasl.username");
  return Error(
      ErrorCode::retryable,
      fmt::format("kafka {}: topic {}: the right {} is missing", client.options().brokers, topic,
                  right),
      fmt::format("kafka-acls.sh --add --allow-principal User:{} --operation {} --topic {}",
                  user == settings.end() ? "NAME" : user->second, right, topic));
}

}  // namespace millrace::log::kafka
