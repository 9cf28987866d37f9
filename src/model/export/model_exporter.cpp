#include "model/export/model_exporter.hpp"

namespace hack::model {

void ModelExporter::count(GgmlType type, index_t bytes) {
  ExportedKind& kind = kinds_[std::string(to_string(type))];
  ++kind.tensors;
  kind.bytes += bytes;
}

}  // namespace hack::model
