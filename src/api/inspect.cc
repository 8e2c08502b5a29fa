#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "coding/dec_tensor.h"
#include "container/read_container.h"
#include "io/json.h"
#include "model/config.h"
#include "watersic/model.h"

namespace watersic {
namespace {

Inspection::Tensor inspect_tensor(const ContainerReader& reader, const Section& section) {
  Inspection::Tensor tensor{.name = section.name,
                            .kind = name_of(section.kind),
                            .rows = section.rows(),
                            .cols = section.cols(),
                            .bytes = static_cast<int64_t>(section.file_bytes())};
  const double weights = static_cast<double>(std::max<int64_t>(1, tensor.rows * tensor.cols));
  tensor.bits = 8 * static_cast<double>(tensor.bytes) / weights;
  if (section.kind == SectionKind::kQuantized) {
    const TensorSummary summary = summarize_tensor(reader.bytes(section), section.name);
    if (summary.state_bits > 0) tensor.kind = "runnable";
    tensor.dead = summary.dead;
    tensor.tiles = summary.tiles;
    tensor.lanes = summary.lanes;
    tensor.tables = summary.tables;
    tensor.coded_bits = summary.bits.coded / weights;
  }
  return tensor;
}

}  // namespace

Inspection inspect(const std::filesystem::path& file) {
  const ContainerReader reader(file);
  Inspection out{.file = file.string(), .file_bytes = static_cast<int64_t>(reader.file_bytes())};
  const Json manifest = reader.manifest();
  const JsonFields fields(manifest, out.file + ": manifest.json");
  out.model_id = fields.text("model_id", "");
  out.producer = fields.text("producer", "");
  if (fields.has("options")) {
    const JsonFields options = fields.object("options");
    out.options = options.json().dump();
    out.method = options.text("method", "");
  }
  if (reader.has("config.json")) {
    const Json config = parse_json(reader.text("config.json"), out.file + ": config.json");
    if (config.contains("architectures") && config["architectures"].is_array() &&
        !config["architectures"].empty()) {
      out.architecture = config["architectures"][0].is_string()
                             ? config["architectures"][0].get<std::string>()
                             : "";
    }
  }
  double bits = 0;
  for (const Section& section : reader.sections()) {
    if (!section.is_tensor()) {
      out.texts.push_back(section.name);
      out.text_bytes += static_cast<int64_t>(section.file_bytes());
      continue;
    }
    out.tensors.push_back(inspect_tensor(reader, section));
    const Inspection::Tensor& tensor = out.tensors.back();
    if (section.name == kBasisName) {  // side information of all layers
      out.tensors.back().kind = "basis";
      bits += 8 * static_cast<double>(tensor.bytes);
    } else if (section.kind == SectionKind::kQuantized) {
      // Those have rates of their own.
      if (section.name == kEmbedding || section.name == kHead) continue;
      out.quantized_weights += tensor.rows * tensor.cols;
      bits += 8 * static_cast<double>(tensor.bytes);
    } else {
      out.kept_bytes += tensor.bytes;
    }
  }
  out.bits = out.quantized_weights > 0 ? bits / static_cast<double>(out.quantized_weights) : 0.0;
  return out;
}

std::string to_json(const Inspection& i) {
  Json json = {{"schema", "watersic.inspect/1"},
               {"file", i.file},
               {"model_id", i.model_id},
               {"producer", i.producer},
               {"architecture", i.architecture},
               {"method", i.method},
               {"file_bytes", i.file_bytes},
               {"quantized_weights", i.quantized_weights},
               {"kept_bytes", i.kept_bytes},
               {"text_bytes", i.text_bytes},
               {"bits", i.bits},
               {"texts", i.texts}};
  json["options"] = i.options.empty() ? Json::object() : Json::parse(i.options);
  json["tensors"] = Json::array();
  for (const Inspection::Tensor& t : i.tensors) {
    Json tensor = {{"name", t.name}, {"kind", t.kind},   {"rows", t.rows},
                   {"cols", t.cols}, {"bytes", t.bytes}, {"bits", t.bits}};
    if (t.tables > 0) {
      tensor["coded_bits"] = t.coded_bits;
      tensor["dead"] = t.dead;
      tensor["tiles"] = t.tiles;
      tensor["lanes"] = t.lanes;
      tensor["tables"] = t.tables;
    }
    json["tensors"].push_back(std::move(tensor));
  }
  return json.dump(2) + "\n";
}

std::string to_text(const Inspection& i) {
  size_t width = 6;
  for (const auto& t : i.tensors) width = std::max(width, t.name.size());
  std::string out =
      fmt::format("{}: {}, {} bytes, written by {}, method {}\nmodel_id {}\n\n", i.file,
                  i.architecture, i.file_bytes, i.producer, i.method, i.model_id);
  out += fmt::format("{:{}}  {:9} {:>15} {:>11} {:>8} {:>6}\n", "tensor", width, "kind", "shape",
                     "bytes", "bits", "dead");
  for (const auto& t : i.tensors) {
    out += fmt::format("{:{}}  {:9} {:>15} {:>11} {:>8.4f} {:>6}\n", t.name, width, t.kind,
                       fmt::format("{} x {}", t.rows, t.cols), t.bytes, t.bits,
                       t.tables > 0 ? std::to_string(t.dead) : "");
  }
  out += fmt::format(
      "\n{} quantized weights at {:.4f} bits; {} bytes of tensors in 16 bits; {} bytes of texts "
      "({})\n",
      i.quantized_weights, i.bits, i.kept_bytes, i.text_bytes, fmt::join(i.texts, ", "));
  return out;
}

}  // namespace watersic
