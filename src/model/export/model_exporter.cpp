#include "model/export/model_exporter.hpp"

namespace hack::model {

void ModelExporter::count(std::string_view type, index_t bytes) {
  ExportedKind& kind = kinds_[std::string(type)];
  ++kind.tensors;
  kind.bytes += bytes;
}

}  // namespace hack::model
