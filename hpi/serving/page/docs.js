// Swagger UI with what the service says of itself.

const answer = await fetch("openapi.json");
const spec = await answer.json();
spec.servers = [{ url: new URL(".", location.href).href }]; // the folder that a proxy may have put the service into
SwaggerUIBundle({ spec, dom_id: "#operations" });
