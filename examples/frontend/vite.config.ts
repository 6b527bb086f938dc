import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The page and the API have one origin, as behind a proxy of your own: siyu opens no WebSocket for pages of others.
const proxy = { "/graphql": { target: process.env.SIYU_URL ?? "http://127.0.0.1:8000", ws: true } };

export default defineConfig({ plugins: [react()], server: { proxy }, preview: { proxy } });
